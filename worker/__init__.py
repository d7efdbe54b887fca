"""Nightdesk's engine: it submits, starts, polls, settles and delivers jobs of the Gemini Interactions API.

The five verbs are the modules of `worker.flow`; every query is in `worker.store`; each outside library has one home
(`gemini` for google-genai, `webhooks` for receivers, `app` for Celery, `database` for SQL engines).
`api` imports `worker`; `worker` never imports `api`; a test holds the whole table of import arrows.
"""
