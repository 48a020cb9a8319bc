// The demos' routes on Go's net/http.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sort"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const ok = `{"ok":true}`

func latin1(b []byte) string {
	runes := make([]rune, len(b))
	for i, c := range b {
		runes[i] = rune(c)
	}
	return string(runes)
}

func number(r *http.Request, name string, usual int) int {
	n, err := strconv.Atoi(r.URL.Query().Get(name))
	if err != nil {
		return usual
	}
	return n
}

func answer(w http.ResponseWriter, kind string, body []byte) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body)
}

func reflect(w http.ResponseWriter, r *http.Request, body []byte) {
	headers := [][2]string{{"Host", r.Host}}
	names := make([]string, 0, len(r.Header))
	for name := range r.Header {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		for _, value := range r.Header[name] {
			headers = append(headers, [2]string{name, latin1([]byte(value))})
		}
	}
	text, _ := json.Marshal(map[string]any{
		"method": r.Method, "path": r.URL.EscapedPath(), "query": r.URL.RawQuery, "headers": headers, "body": latin1(body),
	})
	answer(w, "application/json", text)
}

var ticks atomic.Int64

func span(w http.ResponseWriter, r *http.Request) {
	begun := ticks.Add(1)
	time.Sleep(time.Duration(number(r, "ms", 1)) * time.Millisecond)
	text, _ := json.Marshal(map[string]int64{"begun": begun, "ended": ticks.Add(1)})
	answer(w, "application/json", text)
}

func stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/octet-stream")
	chunk := []byte(strings.Repeat("x", number(r, "bytes", 1024)))
	for i := number(r, "chunks", 10); i > 0; i-- {
		w.Write(chunk)
		w.(http.Flusher).Flush()
	}
}

func get(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	switch {
	case path == "/nothing":
		w.WriteHeader(204)
	case path == "/cached":
		w.WriteHeader(304)
	case path == "/fail":
		http.Error(w, "failed", 500)
	case path == "/big":
		answer(w, "application/octet-stream", []byte(strings.Repeat("x", number(r, "bytes", 1024))))
	case path == "/stream":
		stream(w, r)
	case strings.HasPrefix(path, "/users/"):
		raw := strings.TrimPrefix(r.URL.EscapedPath(), "/users/")
		id, err := url.PathUnescape(raw)
		if err != nil || strings.Contains(raw, "/") || raw == "" {
			http.NotFound(w, r)
			return
		}
		text, _ := json.Marshal(map[string]string{"id": id})
		answer(w, "application/json", text)
	default:
		if path == "/sleep" {
			time.Sleep(time.Duration(number(r, "ms", 1)) * time.Millisecond)
		}
		answer(w, "application/json", []byte(ok))
	}
}

func allowed(path string) string {
	switch path {
	case "/", "/json", "/sync", "/async", "/sleep", "/big", "/stream", "/nothing", "/cached", "/fail":
		return "GET, HEAD"
	case "/echo":
		return "POST"
	}
	if strings.HasPrefix(path, "/users/") {
		return "GET, HEAD"
	}
	return ""
}

func serve(w http.ResponseWriter, r *http.Request) {
	methods := allowed(r.URL.Path)
	known := strings.Contains(", "+methods+", OPTIONS,", ", "+r.Method+",")
	if methods == "" && r.URL.Path != "/reflect" && r.URL.Path != "/span" {
		http.NotFound(w, r)
		return
	}
	if methods != "" && !known {
		w.Header().Set("Allow", methods)
		http.Error(w, "no", 405)
		return
	}
	limit := int64(1 << 20)
	if r.URL.Path == "/echo" {
		limit = 16 << 20
	}
	if r.ContentLength > limit {
		http.Error(w, "too large", 413)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		http.Error(w, "too large", 413)
		return
	}
	if err != nil {
		w.Header().Set("Connection", "close")
		http.Error(w, "bad body", 400)
		return
	}
	switch {
	case r.URL.Path == "/reflect":
		reflect(w, r, body)
	case r.URL.Path == "/span":
		span(w, r)
	case r.Method == "OPTIONS":
		w.Header().Set("Allow", methods)
		w.WriteHeader(204)
	case r.URL.Path == "/echo":
		kind := r.Header.Get("Content-Type")
		if kind == "" {
			kind = "application/octet-stream"
		}
		answer(w, kind, body)
	default:
		get(w, r)
	}
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Printf("go listens on http://%s\n", listener.Addr())
	server := &http.Server{Handler: http.HandlerFunc(serve),
		ReadHeaderTimeout: 3 * time.Second, ReadTimeout: 5 * time.Second,
		IdleTimeout: 5 * time.Second, ErrorLog: nil}
	panic(server.Serve(listener))
}
