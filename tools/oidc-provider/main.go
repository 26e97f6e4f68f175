// oidc-provider is a real OpenID provider for tests: the server of a certified library with the accounts of a
// file. It listens on loopback alone. Settings come from the environment:
//
//	PORT       where it listens; the issuer is http://127.0.0.1:PORT
//	CLIENT     id:secret of the one client
//	REDIRECT   where the client takes people back
//	ACCOUNTS   file with {"SUBJECT": {"Username": …, "Password": …, "Email": …, "Groups": […]}}
package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"strings"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
)

type account struct {
	storage.User
	Groups []string
}

// groupsToo adds what the library's store does not know: groups, in the answer of the userinfo endpoint.
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
	return http.ListenAndServe(address, exampleop.SetupServer("http://"+address, store, log, false))
}
