package faultproxy_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelatch/statelatch/internal/faultproxy"
)

func answerWith(status int) faultproxy.Fault {
	return faultproxy.Answer(faultproxy.Reply{Status: status})
}

// statuses sends n requests one after another.
func statuses(t *testing.T, p *faultproxy.Proxy, n int) []int {
	c := newClient(t)
	var list []int
	for range n {
		list = append(list, put(t, c, p).status)
	}
	return list
}

func TestWhichRequests(t *testing.T) {
	type rules = []faultproxy.Rule
	for _, tt := range []struct {
		name  string
		rules rules
		want  []int
	}{
		{"the first", rules{{Fault: answerWith(500)}}, []int{500, 201, 201, 201}},
		{"the third", rules{{Nth: 3, Fault: answerWith(500)}}, []int{201, 201, 500, 201}},
		{"two from the second on", rules{{Nth: 2, Times: 2, Fault: answerWith(500)}}, []int{201, 500, 500, 201}},
		{"all from the second on", rules{{Nth: 2, Times: faultproxy.Always, Fault: answerWith(500)}}, []int{201, 500, 500, 500}},
		{"others only", rules{{Match: faultproxy.Method("GET"), Fault: answerWith(500)}}, []int{201, 201, 201, 201}},
		{"one after the other", rules{{Nth: 1, Fault: answerWith(500)}, {Nth: 2, Fault: answerWith(503)}}, []int{500, 503, 201, 201}},
		{"the one added first", rules{{Nth: 2, Fault: answerWith(500)}, {Times: faultproxy.Always, Fault: answerWith(503)}}, []int{503, 500, 503, 503}},
		{"none in front", rules{{Times: faultproxy.Always}, {Fault: answerWith(503)}}, []int{503, 201, 201, 201}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := faultproxy.New(t, newStore(t).URL)
			for _, r := range tt.rules {
				p.Add(r)
			}
			if diff := cmp.Diff(tt.want, statuses(t, p, 4)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestRemove(t *testing.T) {
	p := faultproxy.New(t, newStore(t).URL)
	h := p.Add(faultproxy.Rule{Times: faultproxy.Always, Fault: answerWith(500)})
	p.Add(faultproxy.Rule{Nth: 4, Fault: answerWith(503)})
	before := statuses(t, p, 2)
	h.Remove()
	h.Remove()
	if got, want := append(before, statuses(t, p, 2)...), []int{500, 500, 201, 503}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if h.Applied() != 2 {
		t.Errorf("applied %d times, want 2", h.Applied())
	}
	within(t, h.Reached(), "being applied")
}

func TestMatches(t *testing.T) {
	r, _ := http.NewRequest("PUT", "http://x/bucket/a%2Fb.tflock?comp=lease&n=1&n=2", nil)
	r.Header.Set("X-Amz-Target", "DynamoDB_20120810.PutItem")
	yes, no := faultproxy.Method("PUT"), faultproxy.Method("GET")
	for name, tt := range map[string]struct {
		m    faultproxy.Match
		want bool
	}{
		"method":          {yes, true},
		"methods":         {faultproxy.Method("GET", "PUT"), true},
		"other method":    {no, false},
		"path":            {faultproxy.Path("/bucket/a/b.tflock"), true},
		"escaped path":    {faultproxy.Path("/bucket/a%2Fb.tflock"), false},
		"suffix":          {faultproxy.PathSuffix(".tflock"), true},
		"other suffix":    {faultproxy.PathSuffix(".tfstate"), false},
		"query":           {faultproxy.Query("comp", "lease"), true},
		"second of query": {faultproxy.Query("n", "2"), true},
		"other query":     {faultproxy.Query("comp", "metadata"), false},
		"no query":        {faultproxy.Query("restype", ""), false},
		"header":          {faultproxy.Header("x-amz-target", "DynamoDB_20120810.PutItem"), true},
		"other header":    {faultproxy.Header("X-Amz-Target", "DynamoDB_20120810.GetItem"), false},
		"all":             {faultproxy.All(yes, yes), true},
		"not all":         {faultproxy.All(yes, no), false},
		"any":             {faultproxy.Any(no, yes), true},
		"none":            {faultproxy.Any(no, no), false},
		"not":             {faultproxy.Not(no), true},
	} {
		if got := tt.m(r); got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

// TestChaos plays a round twice with one seed, and once with another.
func TestChaos(t *testing.T) {
	up := newStore(t)
	round := func(seed uint64) string {
		p := faultproxy.New(t, up.URL)
		h := p.Add(faultproxy.Rule{Times: faultproxy.Always, Fault: faultproxy.Chaos(seed,
			faultproxy.Chance{P: 0.2, Fault: faultproxy.CutBefore()},
			faultproxy.Chance{P: 0.2, Fault: faultproxy.CutAfter().Reset()},
			faultproxy.Chance{P: 0.2, Fault: faultproxy.Chaos(seed, faultproxy.Chance{P: 1, Fault: answerWith(503)})},
		)})
		statuses(t, p, 100)
		var faults []string
		count := map[string]int{}
		for _, q := range p.Requests() {
			faults = append(faults, q.Fault)
			count[q.Fault]++
		}
		for _, f := range []string{"", "cut before", "cut after", "answer 503"} {
			if count[f] < 8 { // 20 or 40 are expected
				t.Errorf("seed %d: %q came %d times in 100", seed, f, count[f])
			}
		}
		if got, want := h.Applied(), 100-count[""]; got != want {
			t.Errorf("seed %d: applied %d times, want %d", seed, got, want)
		}
		return strings.Join(faults, ",")
	}
	first, again, other := round(1), round(1), round(2)
	if first != again {
		t.Errorf("the same seed gave\n%s\n%s", first, again)
	}
	if first == other {
		t.Errorf("two seeds gave\n%s", first)
	}
}

func TestRecords(t *testing.T) {
	p := faultproxy.New(t, newStore(t).URL, faultproxy.WithBodies())
	c := newClient(t)
	p.Add(faultproxy.Rule{Match: faultproxy.Method("DELETE"), Fault: faultproxy.CutAfter()})
	do(t, c, "GET", p.URL()+"/b?prefix=p&list-type=2", "")
	do(t, c, "PUT", p.URL()+"/b/a%2Fb", "one")
	do(t, c, "PUT", p.URL()+"/b/a%2Fb", "two")
	do(t, c, "DELETE", p.URL()+"/b/a%2Fb", "")
	req, _ := http.NewRequest("POST", p.URL()+"/", strings.NewReader("{}"))
	req.Header.Set("X-Amz-Target", "DynamoDB_20120810.PutItem")
	send(c, req)

	var got []string
	for _, q := range p.Requests() {
		got = append(got, fmt.Sprintf("%s %s ?%s %q %d", q.Method, q.Path, q.Query, q.Body, q.Length))
	}
	want := []string{
		`GET /b ?prefix=p&list-type=2 "" 0`, `PUT /b/a%2Fb ? "one" 3`, `PUT /b/a%2Fb ? "two" 3`,
		`DELETE /b/a%2Fb ? "" 0`, `POST / ? "{}" 2`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +recorded:\n%s", diff)
	}
	table := `count  operation                status  fault
1      GET /b?list-type&prefix  201     
2      PUT /b/a%2Fb             201     
1      DELETE /b/a%2Fb          0       cut after
1      POST PutItem             201     
`
	if diff := cmp.Diff(table, faultproxy.Table(p.Requests())); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if n := p.Count(faultproxy.All(faultproxy.Method("PUT"), faultproxy.Path("/b/a/b"))); n != 2 {
		t.Errorf("counted %d, want 2", n)
	}
	if n := p.Count(nil); n != 5 {
		t.Errorf("counted %d in all, want 5", n)
	}
	p.Reset()
	if n := p.Count(nil); n != 0 {
		t.Errorf("counted %d after Reset", n)
	}
}
