package readers

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/fluxcd/cli-utils/pkg/kstatus/polling"
	helm "github.com/fluxcd/helm-controller/api/v2"
	kustomization "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/ssa"
	"github.com/fluxcd/pkg/ssa/normalize"
	"github.com/fluxcd/pkg/ssa/utils"
	source "github.com/fluxcd/source-controller/api/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// A manifest for Flux in docs/gitops.
type shipped struct {
	// Its file, its kind and its name.
	place  string
	checks []kustomize.CustomHealthCheck
}

// Reads them as Flux's own types; a field that these do not have fails the test.
func shippedForFlux(t *testing.T) []shipped {
	files, err := filepath.Glob(filepath.Join(os.Getenv("REPOSITORY"), "docs/gitops/flux-*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var all []shipped
	for _, file := range files {
		for _, object := range objects(t, file) {
			place := filepath.Base(file) + " " + object.GetKind() + "/" + object.GetName()
			all = append(all, shipped{place, checks(t, place, object)})
		}
	}
	if len(all) < 6 {
		t.Fatalf("only %d objects in %v", len(all), files)
	}
	return all
}

func checks(t *testing.T, place string, object *unstructured.Unstructured) []kustomize.CustomHealthCheck {
	types := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{helm.AddToScheme, kustomization.AddToScheme, source.AddToScheme} {
		if err := add(types); err != nil {
			t.Fatal(err)
		}
	}
	typed, err := types.New(object.GroupVersionKind())
	if err != nil {
		t.Fatalf("%s: %v", place, err)
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object.Object, typed, true); err != nil {
		t.Fatalf("%s: %v", place, err)
	}
	switch typed := typed.(type) {
	case *helm.HelmRelease:
		if len(typed.Spec.HealthCheckExprs) > 0 && typed.GetWaitStrategy() != helm.WaitStrategyPoller {
			t.Errorf("%s: its expressions are not asked", place)
		}
		return typed.Spec.HealthCheckExprs
	case *kustomization.Kustomization:
		if len(typed.Spec.HealthCheckExprs) > 0 && !typed.Spec.Wait {
			t.Errorf("%s: its expressions are not asked", place)
		}
		return typed.Spec.HealthCheckExprs
	default:
		return nil
	}
}

func objects(t *testing.T, file string) []*unstructured.Unstructured {
	objects, err := utils.ReadObjects(bytes.NewReader(read(t, file)))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return objects
}

// How often Flux comes by.
const syncs = 10

// Applies MANIFESTS to NAMESPACE as Flux's kustomize-controller does; from the second time on nothing may change.
func TestFluxSyncs(t *testing.T) {
	manifests := os.Getenv("MANIFESTS")
	if manifests == "" {
		t.Skip("there is no cluster")
	}
	manager := resourceManager(t)
	for sync := range syncs {
		all := objects(t, manifests)
		for _, object := range all {
			object.SetNamespace(os.Getenv("NAMESPACE"))
		}
		if err := normalize.UnstructuredList(all); err != nil {
			t.Fatal(err)
		}
		manager.SetOwnerLabels(all, "trial", "flux-system")
		changes, err := manager.ApplyAllStaged(t.Context(), all, ssa.DefaultApplyOptions())
		if err != nil {
			t.Fatal(err)
		}
		for _, change := range changes.Entries {
			if sync > 0 && change.Action != ssa.UnchangedAction {
				t.Errorf("sync %d: %s %s", sync, change.Subject, change.Action)
			}
		}
		if len(changes.Entries) != len(all) {
			t.Errorf("sync %d: %d of %d objects", sync, len(changes.Entries), len(all))
		}
	}
}

func resourceManager(t *testing.T) *ssa.ResourceManager {
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		t.Fatal(err)
	}
	caller, err := client.New(config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	poller := polling.NewStatusPoller(caller, caller.RESTMapper(), polling.Options{})
	owner := ssa.Owner{Field: "kustomize-controller", Group: "kustomize.toolkit.fluxcd.io"}
	return ssa.NewResourceManager(caller, poller, owner)
}
