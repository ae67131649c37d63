// kube-apiserver as Kubernetes builds it. `go install` refuses the module itself, whose go.mod points into its own repository.
package main

import (
	"os"

	"k8s.io/component-base/cli"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

func main() {
	os.Exit(cli.Run(app.NewAPIServerCommand()))
}
