"""Every failure that Footnote expects, in one tree.

The tree stands in the innermost package so that each folder can raise from it and `app` can map it to
answers in one place (HTTP status in brackets).

    FootnoteError
    ├── InvalidInput          a value that breaks the contract                     [422]
    │   └── TextTooLong       more tokens than the model sees, and no leave to cut [422]
    ├── NotFound              a collection, document, version or key               [404]
    ├── Conflict              the name is taken, or the state forbids it           [409]
    ├── TooLarge              above a size limit                                   [413]
    ├── UnsupportedFormat     a file type that cannot be read                      [415]
    ├── Unreadable            the right type, but broken, encrypted or empty       [422]
    ├── Unauthenticated       no key, or an unknown one                            [401]
    ├── Forbidden             a key without the scope                              [403]
    ├── Overloaded            a full queue [429], or not able to serve just now    [503]
    ├── DeadlineExceeded      the time that a request had is over                  [504]
    ├── StorageFull           the disk took no more                                [507]
    ├── UpstreamFailed        a server that the settings name fails or refuses us  [502]
    ├── ModelDamaged          an artifact whose files or figures are wrong         [500]
    └── BuildDamaged          an index directory that is broken or foreign; a cache, so it is made anew
"""


class FootnoteError(Exception):
    """A failure with a message for the person who caused it: what was found, what is expected, what next."""

    code = "error"

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        found: str | None = None,
        expected: str | None = None,
        next_step: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.found = found
        self.expected = expected
        self.next_step = next_step


class InvalidInput(FootnoteError):
    code = "invalid_input"


class TextTooLong(InvalidInput):
    """index: of the text among those given; tokens: its own, with prompt and special tokens."""

    code = "text_too_long"

    def __init__(self, index: int, tokens: int, max_tokens: int) -> None:
        super().__init__(
            f"text {index} has {tokens} tokens; the model sees at most {max_tokens}",
            field=f"texts[{index}]",
            found=f"{tokens} tokens",
            expected=f"at most {max_tokens} tokens",
            next_step="send it in parts, or ask for it to be cut",
        )
        self.index = index
        self.tokens = tokens
        self.max_tokens = max_tokens


class NotFound(FootnoteError):
    code = "not_found"


class Conflict(FootnoteError):
    code = "conflict"


class TooLarge(FootnoteError):
    code = "too_large"


class UnsupportedFormat(FootnoteError):
    code = "unsupported_format"


class Unreadable(FootnoteError):
    code = "unreadable"


class Unauthenticated(FootnoteError):
    code = "unauthenticated"


class Forbidden(FootnoteError):
    code = "forbidden"


class Overloaded(FootnoteError):
    """retry_after_s: seconds until a full queue has room again; None where nothing is known of the time."""

    code = "overloaded"

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        found: str | None = None,
        expected: str | None = None,
        next_step: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message, field=field, found=found, expected=expected, next_step=next_step)
        self.retry_after_s = retry_after_s


class DeadlineExceeded(FootnoteError):
    code = "deadline_exceeded"


class StorageFull(FootnoteError):
    code = "storage_full"


class UpstreamFailed(FootnoteError):
    code = "upstream_failed"


class ModelDamaged(FootnoteError):
    code = "model_damaged"


class BuildDamaged(FootnoteError):
    code = "build_damaged"
