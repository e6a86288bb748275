package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"manifold/internal/config"
	"manifold/internal/control"
	"manifold/internal/control/service"
	"manifold/internal/fs"
	"manifold/internal/ports"
)

// apiError is an error as it goes out. Class is the contract; Text is for people.
type apiError struct {
	Status     int
	Class      string
	Text       string
	RetryAfter time.Duration

	cause error
}

func (e *apiError) Error() string {
	if e.cause != nil {
		return e.Class + ": " + e.Text + ": " + e.cause.Error()
	}
	return e.Class + ": " + e.Text
}

func (e *apiError) Unwrap() error { return e.cause }

// errorBody is the record that clients read.
type errorBody struct {
	Module      string   `json:"module"`
	ErrorClass  string   `json:"error_class"`
	Description string   `json:"description"`
	Stack       []string `json:"stack"`
	UserVisible bool     `json:"user_visible"`
	Inner       any      `json:"inner"`
}

// MarshalJSON renders the record.
func (e *apiError) MarshalJSON() ([]byte, error) {
	return json.Marshal(errorBody{Module: "manifold.rest", ErrorClass: e.Class, Description: e.Text, Stack: []string{}, UserVisible: e.Status < 500})
}

func badRequest(class, format string, a ...any) error {
	return &apiError{Status: http.StatusBadRequest, Class: class, Text: fmt.Sprintf(format, a...)}
}

func decodeError(format string, a ...any) error {
	return badRequest("decode_error", format, a...)
}

func notFound(format string, a ...any) error {
	return &apiError{Status: http.StatusNotFound, Class: "http_not_found_error", Text: fmt.Sprintf(format, a...)}
}

func conflict(class, format string, a ...any) error {
	return &apiError{Status: http.StatusConflict, Class: class, Text: fmt.Sprintf(format, a...)}
}

func unauthorized(text string) error {
	return &apiError{Status: http.StatusUnauthorized, Class: "http_unauthorized_error", Text: text}
}

func forbidden(p control.Privilege) error {
	return &apiError{Status: http.StatusForbidden, Class: "http_forbidden_error", Text: "this needs " + string(p)}
}

func stale() error {
	return &apiError{Status: http.StatusPreconditionFailed, Class: "http_precondition_failed_error", Text: "If-Match does not match: the object has changed"}
}

func tooLarge(format string, a ...any) error {
	return &apiError{Status: http.StatusRequestEntityTooLarge, Class: "http_request_entity_too_large_error", Text: fmt.Sprintf(format, a...)}
}

// fault is an error of ours. Its cause is for the log, not for the client.
func fault(cause error) *apiError {
	return &apiError{Status: http.StatusInternalServerError, Class: "internal_error", Text: "internal error; the server's log has more", cause: cause}
}

// errorOf turns what the rooms below answer into what goes out.
func errorOf(err error) *apiError {
	var e *apiError
	var bad *config.InvalidError
	var fe *fs.Error
	var kind fs.Kind
	var taken *ports.ConflictError
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, service.ErrSignIn):
		return &apiError{Status: http.StatusUnauthorized, Class: "cred_error", Text: "incorrect user name or password"}
	case errors.Is(err, service.ErrTooManyAttempts):
		return &apiError{Status: http.StatusTooManyRequests, Class: "cred_too_many_attempts_error", Text: "too many failed attempts; try again in a minute", RetryAfter: time.Minute}
	case errors.Is(err, service.ErrHardLinks):
		return &apiError{Status: http.StatusConflict, Class: "fs_entry_hardlink_ambiguity_error", Text: "the file has several names; name one by its path"}
	case errors.Is(err, service.ErrBadRef):
		return &apiError{Status: http.StatusBadRequest, Class: "fs_file_path_invalid_error", Text: "want an absolute path or a file id"}
	case errors.As(err, &bad):
		return &apiError{Status: http.StatusBadRequest, Class: "http_bad_request_error", Text: bad.Error()}
	case errors.Is(err, config.ErrStale):
		return stale().(*apiError)
	case errors.As(err, &taken), errors.Is(err, ports.ErrDisabled):
		return &apiError{Status: http.StatusConflict, Class: "net_port_unavailable_error", Text: err.Error(), cause: err}
	case errors.As(err, &fe), errors.As(err, &kind):
		return ofKind(fs.KindOf(err), err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return ofKind(fs.Canceled, err)
	}
	return fault(err)
}
