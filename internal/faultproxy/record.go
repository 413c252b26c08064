package faultproxy

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// A Request is the record of one request. All of it but Err is settled before the
// client gets the first byte of its reply, or loses its connection.
type Request struct {
	Method string
	Host   string
	Path   string // escaped, as it was sent
	Query  string // as it was sent
	Header http.Header

	Length int64  // bytes of the body that the client has sent, without their framing
	Body   []byte // the same bytes, given WithBodies

	Fault  string // the fault that was applied to it, or ""
	Sent   int    // how often it was sent to the server
	Server int    // status that the server, or a middleware, answered last; 0 = none
	Status int    // status that the client was sent; 0 = none
	Err    string // why it broke off, if no fault made it

	Start time.Time
	End   time.Time // when the reply began, or the connection was cut
}

// Requests returns what was recorded since the last Reset, in order of arrival,
// requests that are still being handled included.
func (p *Proxy) Requests() []Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]Request, len(p.requests))
	for i, q := range p.requests {
		list[i] = *q
		list[i].Body = slices.Clone(q.Body)
	}
	return list
}

// Reset forgets the requests recorded so far. Rules and their counts stay.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests = nil
}

// Count returns how many recorded requests match; a nil Match is every one.
func (p *Proxy) Count(m Match) int {
	n := 0
	for _, q := range p.Requests() {
		if m == nil || m(q.request()) {
			n++
		}
	}
	return n
}

// request returns what a Match may look at.
func (q Request) request() *http.Request {
	uri := q.Path
	if q.Query != "" {
		uri += "?" + q.Query
	}
	u, err := url.ParseRequestURI(uri)
	if err != nil {
		u = &url.URL{Path: q.Path, RawQuery: q.Query}
	}
	return &http.Request{Method: q.Method, Host: q.Host, URL: u, RequestURI: uri, Header: q.Header}
}

// record begins the record of r.
func record(r *http.Request) *Request {
	path, query, _ := strings.Cut(r.RequestURI, "?")
	return &Request{
		Method: r.Method, Host: r.Host, Path: path, Query: query,
		Header: r.Header.Clone(), Start: time.Now(),
	}
}

// Operation names what a request does, without what differs from run to run: the
// method, and the DynamoDB operation or else the path and the names in the query.
func (q Request) Operation() string {
	if _, op, ok := strings.Cut(q.Header.Get("X-Amz-Target"), "."); ok {
		return q.Method + " " + op
	}
	op := q.Method + " " + q.Path
	if names := slices.Sorted(maps.Keys(q.request().URL.Query())); len(names) > 0 {
		op += "?" + strings.Join(names, "&")
	}
	return op
}

// Table returns a printable table of requests: how many of each operation, in
// order of the first, with the statuses sent and the faults applied.
func Table(requests []Request) string {
	type row struct{ op, status, fault string }
	var rows []row
	count := map[row]int{}
	for _, q := range requests {
		r := row{q.Operation(), fmt.Sprint(q.Status), cmp.Or(q.Fault, q.Err)}
		if count[r]++; count[r] == 1 {
			rows = append(rows, r)
		}
	}
	var b strings.Builder
	tw := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "count\toperation\tstatus\tfault")
	for _, r := range rows {
		fmt.Fprintf(tw, "%d\t%s\t%s\t%s\n", count[r], r.op, r.status, r.fault)
	}
	tw.Flush()
	return b.String()
}
