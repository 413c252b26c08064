package lock

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// What Terraform 1.11.4 writes for such a lock, byte for byte.
const golden = `{"ID":"dc4c687a-5615-ce7c-d91e-9dbb158dd054","Operation":"OperationTypeApply","Info":"a \u003cb\u003e \u0026 c","Who":"me@host","Version":"1.11.4","Created":"2026-01-02T03:04:10.19910469Z","Path":"bucket/key"}`

var goldenInfo = Info{
	ID:        "dc4c687a-5615-ce7c-d91e-9dbb158dd054",
	Operation: "OperationTypeApply",
	Info:      "a <b> & c",
	Who:       "me@host",
	Version:   "1.11.4",
	Created:   time.Date(2026, 1, 2, 3, 4, 10, 199104690, time.UTC),
	Path:      "bucket/key",
}

func TestInfoMarshal(t *testing.T) {
	ttl, elsewhere := goldenInfo, goldenInfo
	ttl.TTL, ttl.Ref = 90*time.Second, `own "id"`
	elsewhere.Created = goldenInfo.Created.In(time.FixedZone("", 3600))
	for name, test := range map[string]struct {
		info Info
		want string
	}{
		"seven names":   {goldenInfo, golden},
		"in UTC":        {elsewhere, golden},
		"ours at end":   {ttl, strings.TrimSuffix(golden, "}") + `,"TTL":90,"Ref":"own \"id\""}`},
		"all always":    {Info{}, `{"ID":"","Operation":"","Info":"","Who":"","Version":"","Created":"0001-01-01T00:00:00Z","Path":""}`},
		"invalid UTF-8": {Info{Who: "\xff\u2028"}, `{"ID":"","Operation":"","Info":"","Who":"\ufffd\u2028","Version":"","Created":"0001-01-01T00:00:00Z","Path":""}`},
		"whole second":  {Info{Created: time.Unix(0, 0)}, `{"ID":"","Operation":"","Info":"","Who":"","Version":"","Created":"1970-01-01T00:00:00Z","Path":""}`},
	} {
		got, err := json.Marshal(test.info)
		if err != nil || string(got) != test.want {
			t.Errorf("%s: %s, %v; want %s", name, got, err, test.want)
		}
	}
	for _, ttl := range []time.Duration{-time.Second, 1500 * time.Millisecond} {
		if got, err := json.Marshal(Info{TTL: ttl}); err == nil {
			t.Errorf("a TTL of %s was written as %s", ttl, got)
		}
	}
}

func TestParseInfo(t *testing.T) {
	leased := goldenInfo
	leased.TTL, leased.Ref = 90*time.Second, "own"
	signed := Info{ID: "x", Path: "https://account.blob.core.windows.net/c/b"}
	for name, test := range map[string]struct {
		record string
		want   Info
	}{
		"Terraform's":       {golden, goldenInfo},
		"any order, spaces": {`{ "Path":"bucket/key", "who":"me@host", "ID":"i" }` + "\n", Info{ID: "i", Who: "me@host", Path: "bucket/key"}},
		"unknown names":     {`{"ID":"i","Expires":{"a":[1]}}`, Info{ID: "i"}},
		"ours":              {strings.TrimSuffix(golden, "}") + `,"TTL":90,"Ref":"own"}`, leased},
		"another TTL":       {`{"ID":"i","TTL":"soon","Ref":7}`, Info{ID: "i"}},
		"negative TTL":      {`{"ID":"i","TTL":-5}`, Info{ID: "i"}},
		"overflowing TTL":   {`{"ID":"i","TTL":9223372037}`, Info{ID: "i"}},
		"a signed URL":      {`{"ID":"x","Path":"https://account.blob.core.windows.net/c/b?sv=1&sig=SECRET"}`, signed},
		"a URL with a user": {`{"ID":"x","Path":"https://me:SECRET@account.blob.core.windows.net/c/b?q"}`, Info{ID: "x", Path: "https://me:xxxxx@account.blob.core.windows.net/c/b"}},
		"a question mark":   {`{"ID":"x","Path":"bucket/what?.tfstate"}`, Info{ID: "x", Path: "bucket/what?.tfstate"}},
		"empty":             {"", Info{ID: "unreadable-v1", Info: "the lock record cannot be read: it is empty"}},
		"not JSON":          {"{SECRET", Info{ID: "unreadable-v1", Info: "the lock record cannot be read: it is not the JSON of a lock"}},
		"bad time":          {`{"ID":"i","Created":"SECRET"}`, Info{ID: "unreadable-v1", Info: "the lock record cannot be read: it is not the JSON of a lock"}},
		"no ID":             {"null", Info{ID: "unreadable-v1", Info: "the lock record cannot be read: it has no ID"}},
		"too long":          {strings.Repeat(" ", MaxInfo) + golden, Info{ID: "unreadable-v1", Info: "the lock record cannot be read: it has 65745 bytes, at most 65536 are read"}},
	} {
		if diff := cmp.Diff(test.want, ParseInfo([]byte(test.record), "v1")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestNewInfo(t *testing.T) {
	a, b := NewInfo("OperationTypePlan"), NewInfo("OperationTypePlan")
	if !regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`).MatchString(a.ID) || a.ID == b.ID {
		t.Errorf("IDs %s, %s", a.ID, b.ID)
	}
	if !strings.Contains(a.Who, "@") || a.Operation != "OperationTypePlan" || a.Version != Version || time.Since(a.Created) > time.Minute {
		t.Errorf("%+v", a)
	}
}

func TestTextIsPrintable(t *testing.T) {
	nasty := Info{ID: "i\x1b]0;d\a", Who: "a\x1b[2Jb\u202e", Info: "x\ny", Created: goldenInfo.Created, TTL: time.Minute}
	want := "a[2Jb, info xy, since 2026-01-02T03:04:10Z, for 1m0s after each renewal, ID i]0;d"
	if got := nasty.String(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := (Info{ID: "i"}).String(); got != "an unknown holder, ID i" {
		t.Errorf("%q", got)
	}
	for _, err := range []error{&HeldError{Holder: nasty}, &UnknownError{ID: nasty.ID, Err: ErrTransient}, &ReleaseError{ID: nasty.ID, Err: ErrNotHeld}} {
		if strings.ContainsAny(err.Error(), "\x1b\a\n") {
			t.Errorf("%q", err)
		}
	}
}

func FuzzParseInfo(f *testing.F) {
	for _, seed := range []string{golden, "", "null", "{}", `{"id":"i","TTL":1e3,"Ref":null}`, `{"ID":"i","Path":"https://u:p@h/?%zz"}`, `[1]`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, record []byte) {
		info := ParseInfo(record, "v")
		if info.ID == "" || info.TTL < 0 {
			t.Fatalf("%+v", info)
		}
		_ = info.String()
		stored, err := json.Marshal(info)
		if err != nil {
			t.Fatal(err)
		}
		if len(stored) <= MaxInfo && !strings.HasPrefix(info.ID, unreadable) {
			if diff := cmp.Diff(info, ParseInfo(stored, "w")); diff != "" {
				t.Fatalf("changes when it is stored again (-before +after):\n%s", diff)
			}
		}
	})
}

func TestCheckWorkspace(t *testing.T) {
	for _, name := range []string{"default", "a", "A-z_0.9~", "$&+:=@", "...", ".a", strings.Repeat("w", 200)} {
		if err := CheckWorkspace(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"", ".", "..", "a b", "a%b", "a#b", "a?b", "a/b", `a\b`, "a\x00", "a\n", "é", "a;b", "a,b", "(", strings.Repeat("w", 201)} {
		if err := CheckWorkspace(name); err == nil || !strings.Contains(err.Error(), ErrInvalidName.Error()) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func FuzzCheckWorkspace(f *testing.F) {
	f.Add("default")
	f.Add("a/../b")
	f.Add("%2e%2e")
	f.Fuzz(func(t *testing.T, name string) {
		allowed := regexp.MustCompile(`^[A-Za-z0-9$&+:=@~._-]{1,200}$`).MatchString(name) && name != "." && name != ".."
		if got := CheckWorkspace(name) == nil; got != allowed {
			t.Errorf("%q: allowed %t, want %t", name, got, allowed)
		}
	})
}
