package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"
	clientv3 "go.etcd.io/etcd/client/v3"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/feature"
	"k8s.io/client-go/rest"
	cliflag "k8s.io/component-base/cli/flag"
	basecompatibility "k8s.io/component-base/compatibility"
	"k8s.io/component-base/logs"
	logsapi "k8s.io/component-base/logs/api/v1"
	"k8s.io/klog/v2"

	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	apiopts "k8s.io/kubernetes/cmd/kube-apiserver/app/options"
	kcm "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	kcmopts "k8s.io/kubernetes/cmd/kube-controller-manager/app/options"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	schedopts "k8s.io/kubernetes/cmd/kube-scheduler/app/options"
)

const (
	planeProbePeriod = 50 * time.Millisecond
	// The API server's own drain takes most of this; the kubelet's grace period must be longer.
	planeDrainLimit = 20 * time.Second
)

// runPlane serves a tenant control plane: kube-apiserver, kube-controller-manager and
// kube-scheduler in one process, so that they share one heap and one text segment.
//
// Their options are parsed and run directly instead of through their commands, because each
// command installs the process-wide signal handler and the second one panics.
//
//	kube plane FLAGS-FILE CA-FILE READYZ-URL
//
// FLAGS-FILE has a flag a line in the sections [apiserver], [controller-manager], [scheduler].
// The end of any part ends the process with 1, so that the kubelet restarts all of them
// together; SIGTERM ends it with 0 after the API server has drained.
func runPlane(args []string) int {
	if len(args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: kube plane FLAGS-FILE CA-FILE READYZ-URL")
		return 2
	}
	ctx := genericapiserver.SetupSignalContext()
	logs.InitLogs()
	defer logs.FlushLogs()
	rest.SetDefaultWarningHandler(rest.NoWarnings{})

	if err := servePlane(ctx, args[0], args[1], args[2]); err != nil {
		klog.ErrorS(err, "plane ended")
		return 1
	}
	return 0
}

type part struct {
	name string
	err  error
}

func servePlane(ctx context.Context, flagsFile, caFile, readyz string) error {
	api, controllers, sched, err := planeOptions(flagsFile)
	if err != nil {
		return err
	}
	probe, err := newProbe(caFile, readyz)
	if err != nil {
		return err
	}
	tellStoreVersion(ctx, api)
	ended := make(chan part, 3)
	run := func(name string, serve func(context.Context) error) {
		go func() { ended <- part{name, serve(ctx)} }()
	}
	run("kube-apiserver", func(ctx context.Context) error { return serveAPI(ctx, api) })
	for !probe() {
		select {
		case <-ctx.Done():
			return drain(ended, 1)
		case p := <-ended:
			return fmt.Errorf("%s ended before it was ready: %w", p.name, errOrUnknown(p.err))
		case <-time.After(planeProbePeriod):
		}
	}
	klog.InfoS("plane: API server is ready")
	run("kube-controller-manager", func(ctx context.Context) error { return serveControllers(ctx, controllers) })
	run("kube-scheduler", func(ctx context.Context) error { return serveScheduler(ctx, sched) })
	select {
	case <-ctx.Done():
		return drain(ended, 3)
	case p := <-ended:
		if ctx.Err() != nil {
			return drain(ended, 2)
		}
		return fmt.Errorf("%s ended by itself: %w", p.name, errOrUnknown(p.err))
	}
}

// drain waits for the parts after a signal; what they report then is the cancelled context.
func drain(ended <-chan part, parts int) error {
	limit := time.After(planeDrainLimit)
	for range parts {
		select {
		case <-ended:
		case <-limit:
			return errors.New("parts did not end in time after the signal")
		}
	}
	return nil
}

func errOrUnknown(err error) error {
	if err == nil {
		return errors.New("without an error")
	}
	return err
}

func planeOptions(file string) (*apiopts.ServerRunOptions, *kcmopts.KubeControllerManagerOptions, *schedopts.Options, error) {
	cfg, err := sections(file)
	if err != nil {
		return nil, nil, nil, err
	}
	api := apiopts.NewServerRunOptions()
	if err := parseFlags("kube-apiserver", api.Flags(), cfg["apiserver"]); err != nil {
		return nil, nil, nil, err
	}
	controllers, err := kcmopts.NewKubeControllerManagerOptions()
	if err != nil {
		return nil, nil, nil, err
	}
	sets := controllers.Flags(kcm.KnownControllers(), kcm.ControllersDisabledByDefault(), kcm.ControllerAliases())
	if err := parseFlags("kube-controller-manager", sets, cfg["controller-manager"]); err != nil {
		return nil, nil, nil, err
	}
	sched := schedopts.NewOptions()
	if err := parseFlags("kube-scheduler", *sched.Flags, cfg["scheduler"]); err != nil {
		return nil, nil, nil, err
	}
	registry := api.GenericServerRunOptions.ComponentGlobalsRegistry
	if err := registry.Set(); err != nil {
		return nil, nil, nil, err
	}
	features := registry.FeatureGateFor(basecompatibility.DefaultKubeComponent)
	return api, controllers, sched, logsapi.ValidateAndApply(api.Logs, features)
}

// tellStoreVersion answers for etcd what the API server asks it at start: whether it is new enough to
// report the progress of watches. Only etcd's root user may ask that, and a tenant is none; without an
// answer the API server streams no lists and reads nothing from its cache. Any etcd from 3.5.13 on will do.
func tellStoreVersion(ctx context.Context, api *apiopts.ServerRunOptions) {
	store := knownStore{endpoints: api.Etcd.StorageConfig.Transport.ServerList}
	feature.DefaultFeatureSupportChecker.CheckClient(ctx, store, storage.RequestWatchProgress)
}

type knownStore struct{ endpoints []string }

func (s knownStore) Endpoints() []string { return s.endpoints }

func (knownStore) Status(context.Context, string) (*clientv3.StatusResponse, error) {
	return &clientv3.StatusResponse{Version: "3.5.13"}, nil
}

func sections(path string) (map[string][]string, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	out := map[string][]string{}
	name := ""
	scanner := bufio.NewScanner(file)
	for scanner.Scan() {
		line := strings.TrimSpace(scanner.Text())
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '[':
			name = strings.Trim(line, "[]")
		default:
			out[name] = append(out[name], line)
		}
	}
	return out, scanner.Err()
}

func parseFlags(name string, sets cliflag.NamedFlagSets, args []string) error {
	flags := pflag.NewFlagSet(name, pflag.ContinueOnError)
	for _, set := range sets.FlagSets {
		flags.AddFlagSet(set)
	}
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func serveAPI(ctx context.Context, options *apiopts.ServerRunOptions) error {
	completed, err := options.Complete(ctx)
	if err != nil {
		return err
	}
	if errs := completed.Validate(); len(errs) > 0 {
		return errors.Join(errs...)
	}
	return apiserver.Run(ctx, completed)
}

func serveControllers(ctx context.Context, options *kcmopts.KubeControllerManagerOptions) error {
	config, err := options.Config(ctx, kcm.KnownControllers(), kcm.ControllersDisabledByDefault(), kcm.ControllerAliases())
	if err != nil {
		return err
	}
	return kcm.Run(ctx, config.Complete())
}

func serveScheduler(ctx context.Context, options *schedopts.Options) error {
	completed, sched, err := scheduler.Setup(ctx, options)
	if err != nil {
		return err
	}
	return scheduler.Run(ctx, completed, sched)
}

// newProbe asks READYZ-URL with the tenant's own CA; /readyz answers anybody with 200 or 5xx.
func newProbe(caFile, url string) (func() bool, error) {
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", caFile)
	}
	client := &http.Client{
		Timeout:   2 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true},
	}
	return func() bool {
		answer, err := client.Get(url)
		if err != nil {
			return false
		}
		defer answer.Body.Close()
		_, _ = io.Copy(io.Discard, answer.Body)
		return answer.StatusCode == http.StatusOK
	}, nil
}
