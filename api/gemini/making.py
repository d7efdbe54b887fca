"""Making what a create asks for: a new job, a job after another, the next turn of one, or what was made already."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from api import body, submission
from api.desk import Desk
from api.gemini import chain
from api.gemini.names import Name
from api.gemini.owed import Account, Debt
from api.gemini.wish import Wish
from api.submission import Intake
from worker.errors import NightdeskError
from worker.flow import respond
from worker.flow.draft import Draft
from worker.flow.respond import Asked

PATH = "/gemini/interactions"


async def make(desk: Desk, given: Intake, wish: Wish, account: Account) -> Name:
    """Make it, and put its answer on the account if it is owed; raises what refuses a submission."""
    key = given.key or given.digest
    try:
        follows = await _follows(desk, given, wish, key)
    except NightdeskError as error:
        if given.key is None:
            raise
        # What it went on from may have changed since: a replay is answered as the first time.
        return Name((await submission.take(desk, given, _refused(error))).jobs[0].id)
    if follows.made is not None:
        return follows.made
    if follows.answers is not None:
        return await submission.work(desk, given, partial(_answer, desk, given, wish, follows.answers, key))
    drafts = partial(_drafts, desk, given, wish, follows)
    if given.key is not None:
        accepted = await submission.take(desk, given, submission.work_brief(desk, given, drafts))
        return Name(accepted.jobs[0].id)
    return await _owing(desk, given, drafts, account)


async def _owing(desk: Desk, given: Intake, draft: Callable[[], list[Draft]], account: Account) -> Name:
    """A job whose answer is owed from its first transaction on, or one whose answer nobody has had yet."""
    project_id, path = given.who.project_id, f"{PATH}/{given.who.key_id}#{given.digest}"
    known = await desk.owed.take_over(project_id, path)
    drafts = [] if known else await submission.work_brief(desk, given, draft)
    account.debt = Debt(project_id, path, known or drafts[0].job.id)
    desk.owed.begin(account.debt)
    if drafts:
        await desk.writer.submit(submission.order(replace(given, path=path, key=account.debt.job_id), drafts))
    return Name(account.debt.job_id)


async def _follows(desk: Desk, given: Intake, wish: Wish, key: str) -> chain.Next:
    if wish.previous is None:
        return chain.Next()
    return await desk.read(partial(chain.resolve, previous=wish.previous, key=key, project_id=given.who.project_id))


async def _refused(error: NightdeskError) -> list[Draft]:
    raise error


def _answer(desk: Desk, given: Intake, wish: Wish, to: Name, key: str) -> Name:
    """The turn that begins with these function results; the same ones sent again are the same turn."""
    order = submission.order(replace(given, path=chain.answers_path(to), key=key))
    fields = {**wish.fields, "input": chain.as_results(wish.fields.get("input"))}
    accepted = respond.respond(desk.context, Asked(order=order, job_id=to.job_id, fields=fields, is_whole=True))
    if not accepted.replayed:
        return Name(to.job_id, accepted.jobs[0].turn)
    with desk.context.database.read() as session:
        again = chain.resolve(session, str(to), key, given.who.project_id)
    return again.made or to


def _drafts(desk: Desk, given: Intake, wish: Wish, follows: chain.Next) -> list[Draft]:
    """The draft of a new job; raises Invalid."""
    (draft,) = submission.one(desk, given, {**wish.fields, **follows.fields})
    draft.job.webhook_config = wish.webhook_config
    return [draft]


def intake(given: Intake, content: object) -> Intake:
    """The same with a digest, which this door needs also where no key was sent."""
    return given if given.digest else replace(given, digest=body.digest(content))
