"""The root of the tree, and what every part may raise."""


class WecoloraError(Exception):
    """Root of the tree: something about the user's input or machine that the message explains."""

    code = "wecolora_error"
    field: str | None = None


class OutOfRange(WecoloraError):
    """An option lies outside the range that this teacher or this method allows."""

    code = "out_of_range"

    def __init__(self, field: str, value: object, allowed: str, why: str = "") -> None:
        self.field = field
        self.value = value
        self.allowed = allowed
        reason = f" ({why})" if why else ""
        super().__init__(f"{field} is {value!r}: it must be {allowed}{reason}.")
