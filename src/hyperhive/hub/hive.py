"""The hive as the operator meets it, by its socket or its pages."""

from dataclasses import dataclass

from hyperhive.broker.mailbox import Mailbox
from hyperhive.broker.totals import Totals
from hyperhive.broker.turns import Turns
from hyperhive.hub.asking import Asking
from hyperhive.hub.budgets import Budgets
from hyperhive.hub.credentials import Credentials
from hyperhive.hub.desk import Desk
from hyperhive.hub.doors import Doors
from hyperhive.hub.fleet import Fleet
from hyperhive.hub.limits import Limits
from hyperhive.hub.lookout import Lookout
from hyperhive.hub.notify.notifications import Notifications
from hyperhive.hub.queue import JobQueue
from hyperhive.hub.schedules import Scheduling
from hyperhive.hub.shape import Shape
from hyperhive.hub.tokens import Tokens


@dataclass(frozen=True, kw_only=True)
class Hive:
    """All that the operator may see and do."""

    fleet: Fleet
    desk: Desk
    mailbox: Mailbox
    shape: Shape
    queue: JobQueue
    asking: Asking
    scheduling: Scheduling
    turns: Turns
    budgets: Budgets
    doors: Doors
    tokens: Tokens
    totals: Totals
    notifications: Notifications
    credentials: Credentials
    limits: Limits
    lookout: Lookout
