"""A project's webhook secret: showing it to its owner and replacing it."""

from worker.context import Context
from worker.errors import NotFound
from worker.flow import rotation
from worker.store import audit, projects
from worker.store.audit import Actor
from worker.webhooks import signing


def current(context: Context, project_id: str, by: Actor | None = None) -> str:
    """The secret that signs this project's `webhook_url` deliveries."""
    with context.database.write() as session:
        project = projects.get(session, project_id)
        if project is None:
            raise NotFound("no such project")
        audit.note(session, by, audit.SECRET_READ, project_id=project_id, subject=None, now=context.clock())
    return context.vault.open(project.webhook_secret)


def rotate(context: Context, project_id: str, by: Actor | None = None) -> str:
    """A new secret; the old one signs along for 24 hours."""
    secret, now = signing.new_secret(), context.clock()
    with context.database.write() as session:
        project = projects.lock(session, project_id)
        if project is None:
            raise NotFound("no such project")
        old, until = project.old_webhook_secret, project.old_webhook_secret_until
        old, until = rotation.retire(context.vault, project.webhook_secret, old, until, now)
        project.old_webhook_secret, project.old_webhook_secret_until = old, until
        project.webhook_secret = context.vault.seal(secret)
        audit.note(session, by, audit.SECRET_ROTATED, project_id=project_id, subject=None, now=now)
    return secret
