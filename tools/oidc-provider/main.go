// oidc-provider is a real OpenID provider for tests: the server of a certified library with the accounts of a
// file. It listens on loopback alone. POST /logout-token signs the claims of its body as it signs ID tokens: the
// library sends no logout tokens by itself. Settings come from the environment:
//
//	PORT       where it listens; the issuer is http://127.0.0.1:PORT
//	CLIENT     id:secret of the one client
//	REDIRECT   where the client takes people back
//	ACCOUNTS   file with {"SUBJECT": {"Username": …, "Password": …, "Email": …, "Groups": […]}}
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/crypto"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

type account struct {
	storage.User
	Groups []string
}

// groupsToo adds what the library's store does not know: groups, in the answer of the userinfo endpoint, and the
// session at the provider, in ID tokens: everybody has one, named after them.
type groupsToo struct {
	*storage.Storage
	accounts map[string]account
}

func (s groupsToo) SetUserinfoFromToken(
	ctx context.Context, userinfo *oidc.UserInfo, tokenID, subject, origin string,
) error {
	if err := s.Storage.SetUserinfoFromToken(ctx, userinfo, tokenID, subject, origin); err != nil {
		return err
	}
	userinfo.AppendClaims("groups", s.accounts[subject].Groups)
	return nil
}

func (s groupsToo) SetUserinfoFromRequest(
	ctx context.Context, userinfo *oidc.UserInfo, request op.IDTokenRequest, scopes []string,
) error {
	if err := s.Storage.SetUserinfoFromRequest(ctx, userinfo, request, scopes); err != nil {
		return err
	}
	userinfo.AppendClaims("sid", "session-of-"+request.GetSubject())
	return nil
}

func (s groupsToo) signLogoutToken(w http.ResponseWriter, r *http.Request) {
	claims := map[string]any{}
	if err := json.NewDecoder(r.Body).Decode(&claims); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	token, err := s.signed(r.Context(), claims)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprint(w, token)
}

func (s groupsToo) signed(ctx context.Context, claims map[string]any) (string, error) {
	key, err := s.SigningKey(ctx)
	if err != nil {
		return "", err
	}
	signer, err := op.SignerFromKey(key)
	if err != nil {
		return "", err
	}
	return crypto.Sign(claims, signer)
}

func main() {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := serve(log); err != nil {
		log.Error("the provider ended", "error", err)
		os.Exit(1)
	}
}

func serve(log *slog.Logger) error {
	text, err := os.ReadFile(os.Getenv("ACCOUNTS"))
	if err != nil {
		return err
	}
	accounts := map[string]account{}
	if err := json.Unmarshal(text, &accounts); err != nil {
		return err
	}
	users, err := storage.StoreFromFile(os.Getenv("ACCOUNTS"))
	if err != nil {
		return err
	}
	id, secret, _ := strings.Cut(os.Getenv("CLIENT"), ":")
	storage.RegisterClients(storage.WebClient(id, secret, os.Getenv("REDIRECT")))
	address := "127.0.0.1:" + os.Getenv("PORT")
	store := groupsToo{storage.NewStorage(users), accounts}
	all := http.NewServeMux()
	all.Handle("/", exampleop.SetupServer("http://"+address, store, log, false))
	all.HandleFunc("POST /logout-token", store.signLogoutToken)
	return http.ListenAndServe(address, all)
}
