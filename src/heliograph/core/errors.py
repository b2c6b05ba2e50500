"""The one error table: every way a call can fail, with its HTTP and gRPC status.

Any layer raises `HeliographError` with a `Code`; only the edge renders it (HTTP: RFC 9457
problem JSON, later gRPC status). Each error has four faces: `code` for programs, `detail` for
the caller (never a library's own text), `cause` for the log, and `page` for the operator: a row
whose `page` is true is a fault of ours and is logged with its traceback.

A code that is not in `Code` cannot leave the house; `tests/unit/core/test_errors.py` and the
hostile tests hold that every code is produced by a test and documented in
`docs/reference/errors.md`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Row(NamedTuple):
    """One line of the table: what the edge answers for a code."""

    status: int
    grpc: str
    title: str
    page: bool = False


class Code(StrEnum):
    """The closed list of error codes (a public contract: codes are added, never renamed)."""

    BAD_HEADER = "bad_header"
    BAD_HOST = "bad_host"
    BAD_REQUEST = "bad_request"
    BAD_SHAPE = "bad_shape"
    CONFLICT = "conflict"
    CONSENT_REQUIRED = "consent_required"
    CSRF = "csrf"
    DB_UNAVAILABLE = "db_unavailable"
    DRAINING = "draining"
    EMPTY_FILE = "empty_file"
    FETCH_TIMEOUT = "fetch_timeout"
    FORBIDDEN = "forbidden"
    HEADERS_TOO_LARGE = "headers_too_large"
    IDEMPOTENCY_IN_PROGRESS = "idempotency_in_progress"
    IDEMPOTENCY_MISMATCH = "idempotency_mismatch"
    IDENTITY_REQUIRED = "identity_required"
    IMAGE_CORRUPT = "image_corrupt"
    IMAGE_TOO_LARGE = "image_too_large"
    INFERENCE_TIMEOUT = "inference_timeout"
    INTERNAL = "internal"
    JSON_BAD_NUMBER = "json_bad_number"
    JSON_DUPLICATE_KEY = "json_duplicate_key"
    JSON_TOO_DEEP = "json_too_deep"
    KEY_IN_URL = "key_in_url"
    MALFORMED_JSON = "malformed_json"
    METADATA_TOO_LARGE = "metadata_too_large"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    MODEL_CRASHED = "model_crashed"
    MODEL_CRASHED_ON_LOAD = "model_crashed_on_load"
    MODEL_EXTERNAL_DATA = "model_external_data"
    MODEL_FORMAT = "model_format"
    MODEL_INVALID = "model_invalid"
    MODEL_OP_FORBIDDEN = "model_op_forbidden"
    MODEL_RESOURCE_LIMIT = "model_resource_limit"
    MODEL_SIGNATURE = "model_signature"
    MODEL_UNAVAILABLE = "model_unavailable"
    MULTIPART_MALFORMED = "multipart_malformed"
    NAME_TAKEN = "name_taken"
    NOT_FOUND = "not_found"
    OVERLOADED = "overloaded"
    QUOTA_EXCEEDED = "quota_exceeded"
    RANGE = "range"
    RATE_LIMITED = "rate_limited"
    REQUEST_TIMEOUT = "request_timeout"
    STORAGE_FULL = "storage_full"
    SUSPENDED = "suspended"
    TOO_LARGE = "too_large"
    TOO_MANY_CHUNKS = "too_many_chunks"
    TOO_MANY_CONNECTIONS = "too_many_connections"
    TOO_MANY_FRAMES = "too_many_frames"
    TOO_MANY_PARTS = "too_many_parts"
    UNAUTHENTICATED = "unauthenticated"
    UNKNOWN_FIELD = "unknown_field"
    UNKNOWN_FILTER = "unknown_filter"
    UNSAFE_FORMAT = "unsafe_format"
    UNSUPPORTED = "unsupported"
    UNSUPPORTED_ENCODING = "unsupported_encoding"
    UNSUPPORTED_MEDIA = "unsupported_media"
    UPSTREAM_FETCH_FAILED = "upstream_fetch_failed"
    URL_NOT_ALLOWED = "url_not_allowed"
    VALIDATION = "validation"


TABLE: dict[Code, Row] = {
    Code.BAD_HEADER: Row(400, "INVALID_ARGUMENT", "The request's headers are not valid HTTP"),
    Code.BAD_HOST: Row(400, "INVALID_ARGUMENT", "The Host header is missing or not one of ours"),
    Code.BAD_REQUEST: Row(400, "INVALID_ARGUMENT", "The request is not understood"),
    Code.BAD_SHAPE: Row(422, "INVALID_ARGUMENT", "A tensor or picture has the wrong shape"),
    Code.CONFLICT: Row(409, "FAILED_PRECONDITION", "Its present state does not allow that"),
    Code.CONSENT_REQUIRED: Row(
        403, "PERMISSION_DENIED", "The person has not agreed to this processing"
    ),
    Code.CSRF: Row(403, "PERMISSION_DENIED", "The request did not come from our own pages"),
    Code.DB_UNAVAILABLE: Row(503, "UNAVAILABLE", "The database is not available", page=True),
    Code.DRAINING: Row(503, "UNAVAILABLE", "The server is stopping"),
    Code.EMPTY_FILE: Row(400, "INVALID_ARGUMENT", "No bytes were sent"),
    Code.FETCH_TIMEOUT: Row(504, "DEADLINE_EXCEEDED", "The picture's server was too slow"),
    Code.FORBIDDEN: Row(403, "PERMISSION_DENIED", "This key may not do that"),
    Code.HEADERS_TOO_LARGE: Row(431, "RESOURCE_EXHAUSTED", "The request's headers are too large"),
    Code.IDEMPOTENCY_IN_PROGRESS: Row(
        409, "ABORTED", "The first request with this key is still being answered"
    ),
    Code.IDEMPOTENCY_MISMATCH: Row(
        422, "INVALID_ARGUMENT", "The key was used for a different request"
    ),
    Code.IDENTITY_REQUIRED: Row(403, "PERMISSION_DENIED", "This needs a verified identity"),
    Code.IMAGE_CORRUPT: Row(400, "INVALID_ARGUMENT", "The picture is damaged or cut short"),
    Code.IMAGE_TOO_LARGE: Row(413, "RESOURCE_EXHAUSTED", "The picture has too many pixels"),
    Code.INFERENCE_TIMEOUT: Row(504, "DEADLINE_EXCEEDED", "The call ran past its deadline"),
    Code.INTERNAL: Row(500, "INTERNAL", "An error of ours", page=True),
    Code.JSON_BAD_NUMBER: Row(400, "INVALID_ARGUMENT", "A number in the JSON is not a JSON number"),
    Code.JSON_DUPLICATE_KEY: Row(400, "INVALID_ARGUMENT", "A key stands twice in a JSON object"),
    Code.JSON_TOO_DEEP: Row(400, "INVALID_ARGUMENT", "The JSON is nested too deeply"),
    Code.KEY_IN_URL: Row(400, "INVALID_ARGUMENT", "A key stands in the address"),
    Code.MALFORMED_JSON: Row(400, "INVALID_ARGUMENT", "The body is not JSON"),
    Code.METADATA_TOO_LARGE: Row(
        413, "RESOURCE_EXHAUSTED", "The picture carries too much metadata"
    ),
    Code.METHOD_NOT_ALLOWED: Row(405, "UNIMPLEMENTED", "The address does not take this method"),
    Code.MODEL_CRASHED: Row(502, "INTERNAL", "The model failed on this input", page=True),
    Code.MODEL_CRASHED_ON_LOAD: Row(
        422, "INVALID_ARGUMENT", "The model ended its worker while it was loaded"
    ),
    Code.MODEL_EXTERNAL_DATA: Row(
        422, "INVALID_ARGUMENT", "The model names files that it may not have"
    ),
    Code.MODEL_FORMAT: Row(415, "INVALID_ARGUMENT", "The file is not a model in a known format"),
    Code.MODEL_INVALID: Row(422, "INVALID_ARGUMENT", "The model package is not valid"),
    Code.MODEL_OP_FORBIDDEN: Row(
        422, "INVALID_ARGUMENT", "The model has an operation that is not allowed"
    ),
    Code.MODEL_RESOURCE_LIMIT: Row(
        422, "RESOURCE_EXHAUSTED", "The model would need more than it may have"
    ),
    Code.MODEL_SIGNATURE: Row(
        403, "PERMISSION_DENIED", "The model is not signed as the policy requires"
    ),
    Code.MODEL_UNAVAILABLE: Row(503, "UNAVAILABLE", "The model is not loaded"),
    Code.MULTIPART_MALFORMED: Row(400, "INVALID_ARGUMENT", "The multipart body is not valid"),
    Code.NAME_TAKEN: Row(409, "ALREADY_EXISTS", "The name is taken"),
    Code.NOT_FOUND: Row(404, "NOT_FOUND", "There is no such thing here"),
    Code.OVERLOADED: Row(503, "RESOURCE_EXHAUSTED", "All seats are taken"),
    Code.QUOTA_EXCEEDED: Row(429, "RESOURCE_EXHAUSTED", "The quota is used up"),
    Code.RANGE: Row(416, "OUT_OF_RANGE", "Ranges are not served here"),
    Code.RATE_LIMITED: Row(429, "RESOURCE_EXHAUSTED", "Too many requests in a short time"),
    Code.REQUEST_TIMEOUT: Row(408, "DEADLINE_EXCEEDED", "The request did not arrive in time"),
    Code.STORAGE_FULL: Row(503, "RESOURCE_EXHAUSTED", "No space is left to write", page=True),
    Code.SUSPENDED: Row(403, "PERMISSION_DENIED", "The account is suspended"),
    Code.TOO_LARGE: Row(413, "RESOURCE_EXHAUSTED", "The body is too large"),
    Code.TOO_MANY_CHUNKS: Row(413, "RESOURCE_EXHAUSTED", "The body comes in too many chunks"),
    Code.TOO_MANY_CONNECTIONS: Row(429, "RESOURCE_EXHAUSTED", "Too many connections are open"),
    Code.TOO_MANY_FRAMES: Row(413, "RESOURCE_EXHAUSTED", "The picture has too many frames"),
    Code.TOO_MANY_PARTS: Row(413, "RESOURCE_EXHAUSTED", "The multipart body has too many parts"),
    Code.UNAUTHENTICATED: Row(401, "UNAUTHENTICATED", "A valid key is needed"),
    Code.UNKNOWN_FIELD: Row(422, "INVALID_ARGUMENT", "A field or parameter is not known"),
    Code.UNKNOWN_FILTER: Row(400, "INVALID_ARGUMENT", "A filter or an order is not known"),
    Code.UNSAFE_FORMAT: Row(422, "INVALID_ARGUMENT", "The format can carry a program"),
    Code.UNSUPPORTED: Row(422, "UNIMPLEMENTED", "This server does not offer that"),
    Code.UNSUPPORTED_ENCODING: Row(415, "INVALID_ARGUMENT", "The body's encoding is not accepted"),
    Code.UNSUPPORTED_MEDIA: Row(415, "INVALID_ARGUMENT", "The body is not a picture we accept"),
    Code.UPSTREAM_FETCH_FAILED: Row(
        502, "UNAVAILABLE", "The picture could not be fetched from its address"
    ),
    Code.URL_NOT_ALLOWED: Row(422, "INVALID_ARGUMENT", "The address may not be fetched"),
    Code.VALIDATION: Row(422, "INVALID_ARGUMENT", "A value is out of range or of the wrong type"),
}


class HeliographError(Exception):
    """A failure with a code from the table.

    Args:
        code: which row of the table.
        detail: one or two sentences for the caller: the thing, the limit, the actual value and the
            remedy. Never a library's text, a path or another caller's data.
        retry_after: seconds after which the same call may succeed; becomes `Retry-After`.
    """

    def __init__(self, code: Code, detail: str, *, retry_after: float | None = None) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.retry_after = retry_after

    @property
    def row(self) -> Row:
        """The table's row of this error's code."""
        return TABLE[self.code]
