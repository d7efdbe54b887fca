"""The life of a job: submit, start, poll, settle, deliver, and what goes wrong between. Owns every transaction.

Each remote step has four beats: **claim** (a short transaction), **talk** (none open), **record** (a short transaction,
fenced by the claim), **send** (wake-ups and notifications, after the commit, allowed to fail).
"""
