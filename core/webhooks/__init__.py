"""Webhooks: owners are told when their jobs and datasets change, after the Standard Webhooks specification.

`outbox` writes an event in the transaction of the change. `deliveries` makes one delivery of it for each endpoint that
wants it, gives out those that are due, and keeps what became of them. `egress` says which addresses may be reached.
`worker/webhooks.py` sends.
"""
