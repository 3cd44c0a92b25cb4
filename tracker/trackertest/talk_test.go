package trackertest

import (
	"os"
	"testing"
)

const folder = "../../testdata/talks"

func TestTalksParse(t *testing.T) {
	talks, err := Load(os.DirFS(folder))
	if err != nil {
		t.Fatal(err)
	}
	if len(talks) == 0 {
		t.Fatal("no talks")
	}
}
