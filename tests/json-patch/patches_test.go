// Package patches applies the patches of the webhook as an API server does.
package patches

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
)

// A patched object, as it was sent and as it should be.
type vector struct {
	Name    string
	Object  json.RawMessage
	Patch   []byte // base64 in an answer, and in JSON
	Patched json.RawMessage
}

// tests/json_patch.rs writes the file and names it.
func TestPatches(t *testing.T) {
	file, err := os.ReadFile(os.Getenv("VECTORS"))
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	if err := json.Unmarshal(file, &vectors); err != nil {
		t.Fatal(err)
	}
	for _, vector := range vectors {
		t.Run(vector.Name, func(t *testing.T) {
			patch, err := jsonpatch.DecodePatch(vector.Patch)
			if err != nil {
				t.Fatal(err)
			}
			patched, err := patch.Apply(vector.Object)
			if err != nil {
				t.Fatal(err)
			}
			got, want := canonical(t, patched), canonical(t, vector.Patched)
			if !bytes.Equal(got, want) {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

// Sorted keys, no whitespace, numbers as they are written.
func canonical(t *testing.T, document []byte) []byte {
	decoder := json.NewDecoder(bytes.NewReader(document))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
