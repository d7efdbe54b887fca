"""Webhook delivery: sign an event's bytes, guard the address, send one POST and say what came back.

`signing` makes the Standard Webhooks headers, `address` and `ranges` decide where a request may go, `headers` what may
travel along; `lookup` and `slots` keep a slow receiver from delaying others; `egress` makes the one POST, `reply` is
its outcome. Nothing here reads settings, the database or the schedule of attempts: values come in, a `Reply` goes out.
"""
