// Package readers reads objects as GitOps tools do: kstatus, Flux's health check expressions, Argo CD's Lua.
package readers

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/pkg/runtime/cel"
	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// An object, and what each tool must make of it.
type situation struct {
	Name    string
	Object  json.RawMessage
	Kstatus status.Status
	// By expressions that ask for Complete instead of Ready.
	Complete status.Status
	Argo     string
}

// tests/gitops/readers.rs writes the file and names it.
func TestSituations(t *testing.T) {
	var situations []situation
	if err := json.Unmarshal(read(t, os.Getenv("SITUATIONS")), &situations); err != nil {
		t.Fatal(err)
	}
	evaluators := evaluators(t)
	script := string(read(t, filepath.Join(os.Getenv("REPOSITORY"), "charts/daemonjob/files/argocd/health.lua")))
	for _, it := range situations {
		t.Run(it.Name, func(t *testing.T) {
			object := &unstructured.Unstructured{}
			if err := object.UnmarshalJSON(it.Object); err != nil {
				t.Fatal(err)
			}
			computed, err := status.Compute(object)
			if err != nil {
				t.Fatal(err)
			}
			if computed.Status != it.Kstatus {
				t.Errorf("kstatus: %s, not %s: %s", computed.Status, it.Kstatus, computed.Message)
			}
			for place, evaluator := range evaluators {
				evaluated, err := evaluator.Evaluate(t.Context(), object)
				if err != nil {
					t.Fatal(err)
				}
				if evaluated.Status != it.Complete {
					t.Errorf("%s: %s, not %s", place, evaluated.Status, it.Complete)
				}
			}
			if health := health(t, script, object); health != it.Argo {
				t.Errorf("Argo CD: %s, not %s", health, it.Argo)
			}
		})
	}
}

func read(t *testing.T, path string) []byte {
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// The expressions of the shipped manifests, by the object that holds them.
func evaluators(t *testing.T) map[string]*cel.StatusEvaluator {
	evaluators := map[string]*cel.StatusEvaluator{}
	for _, shipped := range shippedForFlux(t) {
		for _, check := range shipped.checks {
			if check.APIVersion != "daemon.justk8s.com/v1alpha1" || check.Kind != "DaemonJob" {
				t.Fatalf("%s is about %s %s", shipped.place, check.APIVersion, check.Kind)
			}
			evaluator, err := cel.NewStatusEvaluator(&check.HealthCheckExpressions)
			if err != nil {
				t.Fatal(err)
			}
			evaluators[shipped.place] = evaluator
		}
	}
	if len(evaluators) != 2 {
		t.Fatalf("expressions in %d objects", len(evaluators))
	}
	return evaluators
}

// The virtual machine of Argo CD, with the libraries that it opens for a script.
func health(t *testing.T, script string, object *unstructured.Unstructured) string {
	machine := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer machine.Close()
	machine.SetContext(t.Context())
	libraries := map[string]lua.LGFunction{lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable}
	for name, open := range libraries {
		call := lua.P{Fn: machine.NewFunction(open), Protect: true}
		if err := machine.CallByParam(call, lua.LString(name)); err != nil {
			t.Fatal(err)
		}
	}
	machine.SetGlobal("obj", toLua(machine, object.Object))
	if err := machine.DoString(script); err != nil {
		t.Fatal(err)
	}
	said, ok := machine.Get(-1).(*lua.LTable)
	if !ok {
		t.Fatal("the script returns no table")
	}
	if said.RawGetString("message").String() == "" {
		t.Error("a health without a message")
	}
	return said.RawGetString("status").String()
}

func toLua(machine *lua.LState, value any) lua.LValue {
	switch value := value.(type) {
	case bool:
		return lua.LBool(value)
	case float64:
		return lua.LNumber(value)
	case int64:
		return lua.LNumber(value)
	case string:
		return lua.LString(value)
	case []any:
		table := machine.NewTable()
		for _, item := range value {
			table.Append(toLua(machine, item))
		}
		return table
	case map[string]any:
		table := machine.NewTable()
		for key, member := range value {
			table.RawSetString(key, toLua(machine, member))
		}
		return table
	default:
		return lua.LNil
	}
}
