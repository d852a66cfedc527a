"""The HTTP interface: parse, call a service, answer. Rules that workers share live in core."""
