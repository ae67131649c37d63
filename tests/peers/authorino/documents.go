package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"

	api "github.com/kuadrant/authorino/api/v1beta3"
	"github.com/kuadrant/authorino/controllers"
	"github.com/kuadrant/authorino/pkg/index"
	"github.com/kuadrant/authorino/pkg/log"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	yamlstream "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"k8s.io/kube-openapi/pkg/validation/strfmt"
	"k8s.io/kube-openapi/pkg/validation/validate"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/yaml"
)

// definition does to an AuthConfig what kube-apiserver does by the CustomResourceDefinition: defaults, and what is refused.
type definition struct {
	schema    *spec.Schema
	validator *validate.SchemaValidator
}

func readDefinition(file string) (*definition, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("the CustomResourceDefinition: %w", err)
	}
	documents, err := parse(text)
	if err != nil {
		return nil, err
	}
	for _, document := range documents {
		versions, _, _ := unstructured.NestedSlice(document.Object, "spec", "versions")
		for _, version := range versions {
			version, _ := version.(map[string]any)
			if document.GetKind() != "CustomResourceDefinition" || version["name"] != api.GroupVersion.Version {
				continue
			}
			published, _, _ := unstructured.NestedMap(version, "schema", "openAPIV3Schema")
			return newDefinition(published)
		}
	}
	return nil, fmt.Errorf("%s: there is no CustomResourceDefinition of %s", file, api.GroupVersion)
}

func newDefinition(published map[string]any) (*definition, error) {
	text, err := json.Marshal(published)
	if err != nil {
		return nil, err
	}
	schema := &spec.Schema{}
	if err := json.Unmarshal(text, schema); err != nil {
		return nil, err
	}
	return &definition{schema, validate.NewSchemaValidator(schema, nil, "", strfmt.Default)}, nil
}

func (d *definition) admit(document *unstructured.Unstructured) error {
	fill(document.Object, d.schema)
	return errors.Join(d.validator.Validate(document.Object).Errors...)
}

// fill adds the defaults of a schema.
func fill(value any, schema *spec.Schema) {
	switch value := value.(type) {
	case map[string]any:
		for name, property := range schema.Properties {
			if _, given := value[name]; !given && property.Default != nil {
				value[name] = runtime.DeepCopyJSONValue(property.Default)
			}
			fill(value[name], &property)
		}
		if schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil {
			for _, member := range value {
				fill(member, schema.AdditionalProperties.Schema)
			}
		}
	case []any:
		if schema.Items != nil && schema.Items.Schema != nil {
			for _, item := range value {
				fill(item, schema.Items.Schema)
			}
		}
	}
}

func parse(text []byte) ([]*unstructured.Unstructured, error) {
	reader := yamlstream.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	var documents []*unstructured.Unstructured
	for {
		part, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return documents, nil
		}
		if err != nil {
			return nil, err
		}
		var object map[string]any
		if err := yaml.Unmarshal(part, &object); err != nil {
			return nil, err
		}
		if len(object) > 0 {
			documents = append(documents, &unstructured.Unstructured{Object: object})
		}
	}
}

// reconcile gives all documents to a cluster that is none, and has each AuthConfig reconciled.
func reconcile(documents []*unstructured.Unstructured, definition *definition, kubernetes *rest.Config) (index.Index, map[string]string, error) {
	kinds := runtime.NewScheme()
	if err := errors.Join(scheme.AddToScheme(kinds), api.AddToScheme(kinds)); err != nil {
		return nil, nil, err
	}
	refused := map[string]string{}
	cluster := fake.NewClientBuilder().WithScheme(kinds).Build()
	var names []types.NamespacedName
	for _, document := range documents {
		if document.GetNamespace() == "" {
			document.SetNamespace("default")
		}
		name := types.NamespacedName{Namespace: document.GetNamespace(), Name: document.GetName()}
		if document.GetKind() == "AuthConfig" {
			delete(document.Object, "status")
			if err := definition.admit(document); err != nil {
				refused[name.String()] = err.Error()
				continue
			}
			names = append(names, name)
		}
		if err := create(cluster, document); err != nil {
			return nil, nil, fmt.Errorf("%s %s: %w", document.GetKind(), name, err)
		}
	}
	found := index.NewIndex()
	reconciler := &controllers.AuthConfigReconciler{
		Client:                 cluster,
		EvaluatorClientOptions: &controllers.EvaluatorClientOptions{RESTConfig: kubernetes, QPS: 1000, Burst: 1000},
		Logger:                 log.WithName("authconfig"),
		Index:                  found,
		// Documents come in no order here, so a narrower host may follow a wider one.
		AllowSupersedingHostSubsets: true,
		StatusReport:                controllers.NewStatusReportMap(),
	}
	for _, name := range names {
		if _, err := reconciler.Reconcile(context.Background(), ctrl.Request{NamespacedName: name}); err != nil {
			refused[name.String()] = err.Error()
		} else if status, known := reconciler.StatusReport.Get(name.String()); known && status.Reason != api.StatusReasonReconciled {
			refused[name.String()] = status.Reason + ": " + status.Message
		}
	}
	return found, refused, nil
}

func create(cluster client.Client, document *unstructured.Unstructured) error {
	object, err := cluster.Scheme().New(document.GroupVersionKind())
	if err != nil {
		return err
	}
	document.SetResourceVersion("")
	text, err := document.MarshalJSON()
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, object); err != nil {
		return err
	}
	if secret, is := object.(*core.Secret); is {
		merge(secret)
	}
	return cluster.Create(context.Background(), object.(client.Object))
}

// merge does what kube-apiserver does to a Secret as people write it.
func merge(secret *core.Secret) {
	if secret.Data == nil {
		secret.Data = map[string][]byte{}
	}
	for key, value := range secret.StringData {
		secret.Data[key] = []byte(value)
	}
	secret.StringData = nil
	if key, there := secret.Data["key.pem"]; there {
		secret.Data["key.pem"] = older(key)
	}
}

// older rewrites a PKCS #8 key, which the corpus has, in the form of its kind, the only one that Authorino signs with.
func older(text []byte) []byte {
	block, _ := pem.Decode(text)
	if block == nil {
		return text
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return text
	}
	switch key := key.(type) {
	case *ecdsa.PrivateKey:
		if der, err := x509.MarshalECPrivateKey(key); err == nil {
			return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
		}
	case *rsa.PrivateKey:
		return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	}
	return text
}
