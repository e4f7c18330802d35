"""`hive questions`: what agents want to know."""

from typing import Annotated

import typer

from hyperhive.cli.ages import age, left
from hyperhive.cli.hive import ask
from hyperhive.cli.options import Json
from hyperhive.cli.output import put, put_json, say
from hyperhive.cli.row import block
from hyperhive.cli.safe import clean, one_line
from hyperhive.protocol import host


def run(
    everything: Annotated[bool, typer.Option("--all", help="Answered ones too.")] = False,
    json: Json = False,
) -> None:
    """Show the questions that are open, to you and between agents."""
    answer = ask(host.Questions(all=everything))
    if json:
        put_json(answer)
    elif not answer.questions:
        say("no questions" if everything else "no open questions")
    else:
        for question in answer.questions:
            put(shown(question))
        say("`hive answer ID TEXT` answers, `hive question cancel ID` takes a question back")


def shown(question: host.Question) -> str:
    """A heading, the question and its options, indented so that no text can pass for a heading."""
    options = [f"    · {one_line(option, 200)}" for option in question.options]
    answer = [f"  answer of {_name(question.answerer)}:", block(question.answer)] if question.answer else []
    return "\n".join([_heading(question), block(question.question), *options, *answer])


def _heading(question: host.Question) -> str:
    notes = [age(question.asked_at)]
    if question.multi:
        notes.append("any of the options")
    if question.answered_at:
        notes.append(f"answered {age(question.answered_at)} ago")
    elif question.deadline_at:
        notes.append(f"expires {left(question.deadline_at)}")
    who = f"#{question.id} {_name(question.asker)} → {_name(question.target)}"
    return clean(f"{who} · {' · '.join(notes)}").replace("\n", " ")


def _name(name: object) -> str:
    return one_line(str(name or ""), 40)
