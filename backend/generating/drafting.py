"""Drafting tasks: which tasks a prompt shows, and the steps from a prompt to whole tasks.

Everything that is drawn follows from the settings' seed and the number of the prompt alone.
"""

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

from backend.data.similarity import Nearest, words
from backend.errors import UserError
from backend.generating import prompts
from backend.generating.filters import Fault
from backend.generating.prompts import Completion
from backend.generating.settings import GenerationSettings
from backend.generating.tasks import Task
from backend.generating.writers import Writer
from backend.sampling import Sampling

SHOWN_WORDS = 60  # longer tasks are no examples: they would crowd out the others
WHOLE_TASKS_SHOWN = 3  # in Alpaca's form
KIND_TOKENS = 4  # "Yes" or "No"
MOST_TOKENS = 8192
NO_TASK = Fault("no task", "is none: the answer to this prompt holds no task")


class Draft(NamedTuple):
    """A task as it was written, with what is known to be wrong with it already."""

    attempt: int  # the number of its prompt
    task: Task
    fault: Fault | None = None
    nearest: Nearest | None = None  # to its instruction, among the tasks kept and the earlier drafts of its round
    is_cut_off: bool = False


Look = Callable[[list[Draft]], list[Draft]]  # fills in nearest, and the fault of what cannot be kept
Say = Callable[[str], None]  # tells what goes on now


class Drafter:
    """Drafts tasks from examples. `kept` are the tasks kept so far; whoever keeps another adds it there."""

    def __init__(self, writer: Writer, settings: GenerationSettings, seeds: Sequence[Task], kept: Sequence[Task], say: Say) -> None:
        self.writer, self.settings, self.kept, self.say = writer, settings, kept, say
        self.examples = [seed for seed in seeds if _is_short(seed.instruction)]
        if not self.examples:
            raise UserError(f"Every seed is longer than {SHOWN_WORDS} words, too long to be an example. Choose or write shorter ones.")

    def draft(self, attempts: range, look: Look) -> list[Draft]:
        """What some prompts bring, in order, looked at; at least one draft for each. Raises `Stopped`, `UserError`."""
        return self._by_steps(attempts, look) if self.settings.style == "self-instruct" else self._in_one_pass(attempts, look)

    def seed(self, attempt: int, step: str = "first") -> int:
        """What a step of a prompt is drawn from."""
        return self._random(attempt, f"seed of {step}").randrange(2**30)

    def _in_one_pass(self, attempts: range, look: Look) -> list[Draft]:
        """Alpaca: whole tasks."""
        self.say(f"asking for whole tasks with {_count(len(attempts), 'prompt')}")
        asked = [prompts.ask_for_tasks(self._shown(attempt)[:WHOLE_TASKS_SHOWN]) for attempt in attempts]
        longest = min(4 * self.settings.max_tokens, MOST_TOKENS)
        said = self.writer.go_on(asked, self._sampling(attempts, max_tokens=longest))
        found = zip(attempts, map(prompts.parse_tasks, said), strict=True)
        return look([draft for attempt, tasks in found for draft in _drafts(attempt, tasks)])

    def _by_steps(self, attempts: range, look: Look) -> list[Draft]:
        """Self-Instruct: instructions; for those that can be kept their kind; then an example of each."""
        drafts = look(self._instructions(attempts))
        whole = iter(self._with_examples([draft for draft in drafts if not draft.fault]))
        return [draft if draft.fault else next(whole) for draft in drafts]

    def _instructions(self, attempts: range) -> list[Draft]:
        self.say(f"asking for new tasks with {_count(len(attempts), 'prompt')}")
        asked = [prompts.ask_for_instructions([task.instruction for task in self._shown(attempt)]) for attempt in attempts]
        said = self.writer.go_on(asked, self._sampling(attempts))
        found = zip(attempts, map(prompts.parse_instructions, said), strict=True)
        return [draft for attempt, items in found for draft in _drafts(attempt, [Task(item, "", "", False) for item in items])]

    def _with_examples(self, drafts: Sequence[Draft]) -> list[Draft]:
        if not drafts:
            return []
        self.say(f"writing the answers of {_count(len(drafts), 'new task')}")
        kinds = self._are_classification(drafts)
        labelled = iter(self._labelled([draft for draft, is_one in zip(drafts, kinds, strict=True) if is_one]))
        free = iter(self._free([draft for draft, is_one in zip(drafts, kinds, strict=True) if not is_one]))
        return [next(labelled) if is_one else next(free) for is_one in kinds]

    def _are_classification(self, drafts: Sequence[Draft]) -> list[bool]:
        asked = [prompts.ask_for_kind(draft.task.instruction) for draft in drafts]
        said = self.writer.go_on(asked, self._sampling(_attempts(drafts), "kinds", max_tokens=KIND_TOKENS))
        return list(map(prompts.parse_kind, said))

    def _labelled(self, drafts: Sequence[Draft]) -> list[Draft]:
        """Classification tasks with an example, its label written first, so that labels come out balanced."""
        asked = [prompts.ask_for_labelled_instances(draft.task.instruction) for draft in drafts]
        said = self.writer.go_on(asked, self._sampling(_attempts(drafts), "labelled"))
        return [self._with_one_of(draft, prompts.parse_labelled_instances(each)) for draft, each in zip(drafts, said, strict=True)]

    def _with_one_of(self, draft: Draft, instances: Sequence[prompts.Instance]) -> Draft:
        """A draft with one example, drawn, or else whatever label comes to mind first would stand in most rows."""
        drawn = self._random(draft.attempt, draft.task.instruction)
        input, output = drawn.choice(instances) if instances else ("", "")
        return draft._replace(task=draft.task._replace(input=input, output=output, is_classification=True))

    def _free(self, drafts: Sequence[Draft]) -> list[Draft]:
        """Tasks of other kinds with an example, the input first."""
        asked = [prompts.ask_for_instance(draft.task.instruction, self._short_seeds(draft.attempt)) for draft in drafts]
        if self.settings.answers == "continuation":
            said = self.writer.go_on(asked, self._sampling(_attempts(drafts), "instances"))
            return [_with_instance(draft, each) for draft, each in zip(drafts, said, strict=True)]
        asked = [prompt._replace(stops=(prompts.OUTPUT_MARK, *prompt.stops)) for prompt in asked]
        said = self.writer.go_on(asked, self._sampling(_attempts(drafts), "inputs"))
        inputs = map(prompts.parse_input, said)
        return self._answered([draft._replace(task=draft.task._replace(input=each)) for draft, each in zip(drafts, inputs, strict=True)])

    def _answered(self, drafts: Sequence[Draft]) -> list[Draft]:
        said = self.writer.answer([draft.task.prompt for draft in drafts], self._sampling(_attempts(drafts), "answers"))
        return [
            draft._replace(task=draft.task._replace(output=each.text.strip()), is_cut_off=each.is_cut_off)
            for draft, each in zip(drafts, said, strict=True)
        ]

    def _shown(self, attempt: int) -> list[Task]:
        """The tasks a prompt shows: mostly seeds, some of those kept so far, in any order."""
        drawn, count = self._random(attempt, "shown"), self.settings.demonstrations
        own = [task for task in self.kept if _is_short(task.instruction)]
        own = drawn.sample(own, min(len(own), self.settings.generated_demonstrations, count))
        shown = own + drawn.sample(self.examples, min(len(self.examples), count - len(own)))
        drawn.shuffle(shown)
        return shown

    def _short_seeds(self, attempt: int) -> list[Task]:
        """Two seeds that are short as a whole, to show how the user's own examples are written."""
        short = [seed for seed in self.examples if _is_short(f"{seed.input} {seed.output}")]
        return self._random(attempt, "short").sample(short, min(2, len(short)))

    def _random(self, attempt: int, what: str) -> random.Random:
        return random.Random(f"{self.settings.seed}/{attempt}/{what}")

    def _sampling(self, attempts: Sequence[int], step: str = "first", *, max_tokens: int | None = None) -> Sampling:
        seed = self.seed(attempts[0], step) if attempts else 0
        longest = max_tokens or self.settings.max_tokens
        return Sampling(temperature=self.settings.temperature, top_p=self.settings.top_p, max_tokens=longest, seed=seed)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _is_short(text: str) -> bool:
    return len(words(text)) <= SHOWN_WORDS


def _attempts(drafts: Sequence[Draft]) -> list[int]:
    return [draft.attempt for draft in drafts]


def _drafts(attempt: int, tasks: Sequence[Task]) -> list[Draft]:
    """What an answer held; one draft that says so where it held nothing, for every prompt leaves a trace."""
    return [Draft(attempt, task) for task in tasks] or [Draft(attempt, Task("", "", "", False), NO_TASK)]


def _with_instance(draft: Draft, said: Completion) -> Draft:
    input, output = next(iter(prompts.parse_instance(said)), ("", ""))
    return draft._replace(task=draft.task._replace(input=input, output=output), is_cut_off=said.is_cut_off)
