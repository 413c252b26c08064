package consul_test

import (
	"strings"
	"testing"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/consul"
	"github.com/statelatch/statelatch/internal/tftest"
)

// Each program and we see the same states, workspaces and locks, in each format:
// the words of a configuration make the states so large that they are in chunks.
func TestInterop(t *testing.T) {
	for name, lookup := range programs {
		for format, more := range map[string]string{"plain": "", "gzip": "gzip = true"} {
			t.Run(name+"/"+format, func(t *testing.T) {
				program := tftest.Find(t, name, lookup)
				tftest.Interop(t, program, func(t *testing.T) tftest.Fixture {
					n := open(t)
					return tftest.Fixture{
						Backend: n.block("", n.config.Address, more),
						Ours:    n.client(t, func(c *consul.Config) { c.GZIP = more != "" }),
					}
				})
			})
		}
	}
}

// States in chunks, to and fro, and each side deletes those of the other.
func TestInteropChunks(t *testing.T) {
	for name, lookup := range programs {
		for format, more := range map[string]string{"plain": "", "gzip": "gzip = true"} {
			t.Run(name+"/"+format, func(t *testing.T) {
				t.Parallel()
				program := tftest.Find(t, name, lookup)
				n := open(t)
				b := n.client(t, func(c *consul.Config) { c.GZIP = more != "" })
				one, two, three := word(1), word(2), word(3)
				config := tftest.Config{Backend: n.block("", n.config.Address, more), Count: 1, Word: one}
				dir := program.Dir(t, config)
				dir.Must("apply", "-auto-approve")
				theirs := n.chunks(t)
				st := readWord(t, b, one)

				data, err := tftest.Reword(st.Data, one, two)
				if err != nil {
					t.Fatal(err)
				}
				mustWrite(t, b, data, condition(st.Revision))
				ours := n.chunks(t)
				if len(theirs) < 2 || len(ours) < 2 || strings.Contains(strings.Join(ours, " "), theirs[0]) {
					t.Errorf("their chunks: %q; ours: %q", theirs, ours)
				}
				config.Word = two
				dir.Configure(config)
				dir.Must("plan", "-detailed-exitcode")

				config.Word = three
				dir.Configure(config)
				dir.Must("apply", "-auto-approve")
				again := n.chunks(t)
				if len(again) < 2 || strings.Contains(strings.Join(again, " "), ours[0]) {
					t.Errorf("our chunks: %q; theirs: %q", ours, again)
				}
				readWord(t, b, three)
			})
		}
	}
}

// word is long, and compresses to about three quarters.
func word(seed byte) string {
	const letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"
	text := noise(seed, 500<<10) // twice in a state: as input and as output
	for i := range text {
		text[i] = letters[text[i]%64]
	}
	return string(text)
}

func readWord(t *testing.T, b *consul.Backend, want string) backend.State {
	t.Helper()
	st := mustRead(t, b)
	words, err := tftest.Words(st.Data)
	if err != nil || len(words) != 1 || words[0] != want {
		t.Fatalf("read %.40q, %v", words, err)
	}
	return st
}
