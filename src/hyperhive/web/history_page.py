"""What was decided and done, back to the first: who asked, what the operator said to it, what became of it."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from hyperhive.web.pages import page
from hyperhive.web.route import WebRoute, hive_of, number_in

PER_PAGE: Final = 50
_NEWEST: Final = 2**63 - 1


async def history(request: Request) -> Response:
    hive = hive_of(request)
    approvals = await hive.shape.approvals.before(_before(request, "approvals"), PER_PAGE + 1)
    jobs = await hive.queue.jobs.before(_before(request, "jobs"), PER_PAGE + 1)
    return await page(
        request, "history.html", approvals=approvals[:PER_PAGE], jobs=jobs[:PER_PAGE],
        older_approvals=approvals[PER_PAGE - 1].id if len(approvals) > PER_PAGE else 0,
        older_jobs=jobs[PER_PAGE - 1].id if len(jobs) > PER_PAGE else 0,
        asked={name: request.query_params.get(name, "") for name in ("approvals", "jobs")},
    )  # fmt: skip


def _before(request: Request, name: str) -> int:
    number = number_in(request.query_params.get(name, ""))
    return _NEWEST if number is None else number


HISTORY_PAGES: Final[tuple[WebRoute, ...]] = (WebRoute(path="/history", handler=history),)
