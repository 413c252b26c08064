package settle

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/statelatch/statelatch/backend"
)

var (
	errLost      = &backend.Error{Op: "write", Kind: backend.ErrUnknown, Err: errors.New("connection reset")}
	errThrottled = &backend.Error{Op: "write", Kind: backend.ErrTransient, Err: errors.New("503 SlowDown")}
	errConflict  = &backend.Error{Op: "write", Kind: backend.ErrConflict}
	errDenied    = &backend.Error{Op: "write", Kind: backend.ErrPermission}
	errBlind     = errors.New("looking failed")
)

// A look is one scripted answer to Look.
type look struct {
	found Found
	err   error
}

func TestDo(t *testing.T) {
	ours, before, other, blind := look{found: Ours}, look{found: Before}, look{found: Other}, look{err: errBlind}
	for name, test := range map[string]struct {
		tries []error // one for each attempt
		looks []look  // one for each look
		once  bool
		want  error // nil: success
	}{
		"success":                             {[]error{nil}, nil, false, nil},
		"refused at once is a conflict":       {[]error{errConflict}, nil, false, backend.ErrConflict},
		"denied at once":                      {[]error{errDenied}, nil, false, backend.ErrPermission},
		"throttled, then success":             {[]error{errThrottled, errThrottled, nil}, nil, false, nil},
		"throttled for ever":                  {[]error{errThrottled, errThrottled, errThrottled}, nil, false, backend.ErrTransient},
		"throttled, then refused":             {[]error{errThrottled, errConflict}, nil, false, backend.ErrConflict},
		"reply lost, it was applied":          {[]error{errLost}, []look{ours}, false, nil},
		"reply lost, it was not applied":      {[]error{errLost, nil}, []look{before}, false, nil},
		"lost, repeated, refused by itself":   {[]error{errLost, errConflict}, []look{before, ours}, false, nil},
		"lost, repeated, refused by another":  {[]error{errLost, errConflict}, []look{before, other}, false, backend.ErrUnknown},
		"lost, another is there":              {[]error{errLost}, []look{other}, false, backend.ErrUnknown},
		"lost, and blind":                     {[]error{errLost}, []look{blind}, false, backend.ErrUnknown},
		"lost every time":                     {[]error{errLost, errLost, errLost}, []look{before, before, before}, false, backend.ErrUnknown},
		"lost, throttled, then success":       {[]error{errLost, errThrottled, nil}, []look{before, before}, false, nil},
		"lost, throttled, applied meanwhile":  {[]error{errLost, errThrottled}, []look{before, ours}, false, nil},
		"lost, then denied, not there":        {[]error{errLost, errDenied}, []look{before, before}, false, backend.ErrUnknown},
		"lost, then denied, but there":        {[]error{errLost, errDenied}, []look{before, ours}, false, nil},
		"without condition, lost, applied":    {[]error{errLost}, []look{ours}, true, nil},
		"without condition, lost, not there":  {[]error{errLost}, []look{before}, true, backend.ErrUnknown},
		"without condition, throttled":        {[]error{errThrottled, nil}, nil, true, nil},
		"without condition, throttled + lost": {[]error{errThrottled, errLost}, []look{other}, true, backend.ErrUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tries, looks := 0, 0
				got, err := Do(t.Context(), Request[string]{
					Try: func(context.Context) (string, error) {
						tries++
						return "tried", test.tries[tries-1]
					},
					Look: func(context.Context) (string, Found, error) {
						looks++
						return "found", test.looks[looks-1].found, test.looks[looks-1].err
					},
					Once:     test.once,
					Attempts: 3,
				})
				if tries != len(test.tries) || looks != len(test.looks) {
					t.Errorf("%d attempts and %d looks, want %d and %d", tries, looks, len(test.tries), len(test.looks))
				}
				switch {
				case test.want == nil && (err != nil || got == ""):
					t.Errorf("%q, %v; want success", got, err)
				case test.want != nil && (!errors.Is(err, test.want) || got != ""):
					t.Errorf("%q, %v; want %v", got, err, test.want)
				}
				for _, kind := range []error{backend.ErrConflict, backend.ErrTransient, backend.ErrPermission} {
					if errors.Is(err, backend.ErrUnknown) && errors.Is(err, kind) {
						t.Errorf("in doubt, and yet certain of %v: %v", kind, err)
					}
				}
			})
		})
	}
}

func TestDoReturnsWhenTheContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, kind := range map[string]*backend.Error{"throttled": errThrottled, "in doubt": errLost} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			start := time.Now()
			_, err := Do(ctx, Request[int]{
				Try:      func(context.Context) (int, error) { return 0, RetryAfter(kind, time.Hour) },
				Look:     func(context.Context) (int, Found, error) { return 0, Before, nil },
				Attempts: 100,
			})
			if took := time.Since(start); took != time.Second || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v after %s", name, err, took)
			}
			cancel()
		}
		ctx, cancel := context.WithCancel(t.Context())
		_, err := Do(ctx, Request[int]{
			Try:  func(context.Context) (int, error) { cancel(); return 0, errLost },
			Look: func(context.Context) (int, Found, error) { t.Error("looks"); return 0, Other, nil },
		})
		if !errors.Is(err, backend.ErrUnknown) {
			t.Errorf("%v", err)
		}
	})
}

func TestDoWaitsAsTheServerAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, tries := time.Now(), 0
		_, err := Do(t.Context(), Request[int]{Try: func(context.Context) (int, error) {
			if tries++; tries == 1 {
				return 0, RetryAfter(errThrottled, 7*time.Second)
			}
			return 0, nil
		}})
		if err != nil || time.Since(start) != 7*time.Second {
			t.Errorf("%v after %s", err, time.Since(start))
		}
	})
}

func TestDoAsksForTheUnknownError(t *testing.T) {
	mine := errors.New("mine")
	_, err := Do(t.Context(), Request[int]{
		Try:     func(context.Context) (int, error) { return 0, errLost },
		Once:    true,
		Unknown: func(why error) error { return errors.Join(mine, why) },
	})
	if !errors.Is(err, mine) || err.Error() != "mine\n"+errLost.Error() {
		t.Errorf("%v", err)
	}
}

// However many attempts are asked for, the pauses between them stay within bounds.
func TestDoTriesOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, tries := time.Now(), 0
		_, err := Do(t.Context(), Request[int]{
			Try:      func(context.Context) (int, error) { tries++; return 0, errThrottled },
			Attempts: 200,
		})
		if took := time.Since(start); !errors.Is(err, backend.ErrTransient) || tries != 200 || took > 200*10*time.Second {
			t.Errorf("%v after %d attempts in %s", err, tries, took)
		}
	})
}
