// Authorino, with the documents of a test in place of a cluster: its reconciler over controller-runtime's fake client, its
// authorization service for Envoy, its OpenID server for wristbands.
//
//	authorino -crd manifests.yaml -grpc 127.0.0.1:50051 -http 127.0.0.1:5001 -services 127.0.0.1:8080 FILE…
//
// `PUT /documents` takes other documents (YAML) in place of all that are known, and answers with what was refused, by name. In its
// query, `timeout` (`400ms`) stands in for that of the flag, and `kubernetes` is the URL of an API server among the services.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync/atomic"
	"time"

	envoy "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/kuadrant/authorino/pkg/evaluators"
	"github.com/kuadrant/authorino/pkg/log"
	"github.com/kuadrant/authorino/pkg/service"
	"google.golang.org/grpc"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

func main() {
	crd := flag.String("crd", "", "file with Authorino's CustomResourceDefinition")
	grpcAddress := flag.String("grpc", "127.0.0.1:50051", "where Envoy asks")
	httpAddress := flag.String("http", "127.0.0.1:5001", "where documents are put, and wristbands are discovered")
	services := flag.String("services", "", "where all HTTP goes that AuthConfigs ask for, whatever its host")
	kubeconfig := flag.String("kubernetes", "", "kubeconfig of the API server that reviews tokens and access; without it there is none")
	timeout := flag.Duration("timeout", 0, "of a whole decision; 0: none")
	verbose := flag.Bool("verbose", false, "log at debug level")
	flag.Parse()
	logTo(*verbose)
	if *services != "" {
		sendAllTo(*services)
	}
	definition, err := readDefinition(*crd)
	fatal(err)
	kubernetes := &rest.Config{Host: "http://127.0.0.1:1"}
	if *kubeconfig != "" {
		kubernetes, err = clientcmd.BuildConfigFromFlags("", *kubeconfig)
		fatal(err)
	}
	authorino := &authorino{definition: definition, kubernetes: kubernetes, timeout: *timeout, now: new(atomic.Pointer[generation])}
	refused, err := authorino.take(nil)
	fatal(err)
	for _, file := range flag.Args() {
		text, err := os.ReadFile(file)
		fatal(err)
		authorino.files = append(append(authorino.files, "\n---\n"...), text...)
	}
	if len(authorino.files) > 0 {
		refused, err = authorino.take(authorino.files)
		fatal(err)
	}
	for name, why := range refused {
		fmt.Fprintf(os.Stderr, "%s: %s\n", name, why)
	}
	listener, err := net.Listen("tcp", *grpcAddress)
	fatal(err)
	server := grpc.NewServer()
	envoy.RegisterAuthorizationServer(server, authorino)
	go func() { fatal(server.Serve(listener)) }()
	fatal(http.ListenAndServe(*httpAddress, authorino))
}

// authorino answers by the documents that it was given last.
type authorino struct {
	definition *definition
	kubernetes *rest.Config
	timeout    time.Duration
	files      []byte
	now        *atomic.Pointer[generation]
}

// generation is all that came out of one set of documents.
type generation struct {
	configs []*evaluators.AuthConfig
	check   *service.AuthService
	openID  *service.OidcService
}

func (a *authorino) Check(ctx context.Context, request *envoy.CheckRequest) (*envoy.CheckResponse, error) {
	return a.now.Load().check.Check(ctx, request)
}

func (a *authorino) ServeHTTP(writer http.ResponseWriter, request *http.Request) {
	switch {
	case request.URL.Path != "/documents":
		a.now.Load().openID.ServeHTTP(writer, request)
	case request.Method == http.MethodGet:
		writer.WriteHeader(http.StatusNoContent)
	case request.Method == http.MethodPut:
		text, err := io.ReadAll(request.Body)
		var refused map[string]string
		if err == nil {
			refused, err = a.with(request.URL.Query()).take(text)
		}
		if err != nil {
			http.Error(writer, err.Error(), http.StatusBadRequest)
			return
		}
		writer.Header().Set("content-type", "application/json")
		_ = json.NewEncoder(writer).Encode(refused)
	default:
		writer.WriteHeader(http.StatusMethodNotAllowed)
	}
}

// with is the same under other circumstances.
func (a *authorino) with(query url.Values) *authorino {
	other := *a
	if timeout, err := time.ParseDuration(query.Get("timeout")); err == nil {
		other.timeout = timeout
	}
	if host := query.Get("kubernetes"); host != "" {
		dial := http.DefaultTransport.(*http.Transport).DialContext
		// What scripted servers understand; by itself it would be protobuf.
		content := rest.ContentConfig{ContentType: "application/json"}
		other.kubernetes = &rest.Config{Host: host, Dial: dial, ContentConfig: content}
	}
	return &other
}

// take replaces all documents; what is refused is told by name, the rest counts.
func (a *authorino) take(text []byte) (map[string]string, error) {
	documents, err := parse(text)
	if err != nil {
		return nil, err
	}
	index, refused, err := reconcile(documents, a.definition, a.kubernetes)
	if err != nil {
		return nil, err
	}
	next := &generation{
		configs: index.List(),
		check:   service.NewAuthService(index, a.timeout, 8192),
		openID:  &service.OidcService{Index: index},
	}
	if last := a.now.Swap(next); last != nil {
		for _, config := range last.configs {
			_ = config.Clean(context.Background())
		}
	}
	return refused, nil
}

// sendAllTo stands in for names: hosts of AuthConfigs are made up.
func sendAllTo(address string) {
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	http.DefaultTransport.(*http.Transport).DialContext = dial
}

func logTo(verbose bool) {
	options := log.Options{Level: log.ToLogLevel("error"), Mode: log.ToLogMode("production")}
	if verbose {
		options.Level = log.ToLogLevel("debug")
	}
	log.SetLogger(log.NewLogger(options), options)
}

func fatal(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
