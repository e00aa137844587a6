"""A data set of the hub as a Parquet file, which then goes through the same door as any file.

    path = fetch("owner/name", split="train", into=folder)
    source = inspect(path)

Rows are streamed, so that memory holds a batch and the disk holds them once. Programs that come with a data set are
never run: the library refuses them, and so do we. A folder of data files on this machine is read by the same call.
"""

import logging
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from backend.data.readers import Progress, clip
from backend.errors import UserError

if TYPE_CHECKING:
    from datasets import Features, IterableDataset
    from pyarrow import Table

ROWS_PER_BATCH = 1000
SECONDS_TO_ANSWER = 10.0  # the hub's; whoever waits longer has no network worth the name
LISTED = 30  # configurations or splits named in a sentence

log = logging.getLogger(__name__)


def fetch(name: str, *, config: str | None = None, split: str = "train", into: Path, progress: Progress | None = None, folders: bool = True) -> Path:
    """Stream one split into a Parquet file in the folder `into`, and return the file's path.

    `folders` lets the name be that of a folder on this machine. Columns of class labels become their names. Raises
    `UserError` where no hub can be reached, the name, the configuration or the split is not there, the data set asks for
    consent, or it cannot be read to its end.
    """
    name = name.strip()
    is_folder = os.path.isdir(name)  # unlike Path's, it takes any text
    if is_folder and not folders:
        raise UserError(f'"{clip(name)}" is a folder of the studio\'s own machine, which is open to others. Have it imported there.')
    if not is_folder:
        _ask_for(name)
    with _telling_faults_of(name):
        config = _chosen_config(name, config)
        _require_split(name, config, split)
        dataset = _opened(name, config, split)
    with _kept_when_whole(into / _file_name(name, config, split)) as path:
        _write(_tables(name, dataset), path, total=_expected_rows(dataset), progress=progress)
    return into / _file_name(name, config, split)


def _ask_for(name: str) -> None:
    """Ask the hub once whether it has the data set for us, so that a missing network is known in seconds."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    if not _HUB_NAME.fullmatch(name):
        raise UserError(f'"{clip(name)}" is no name of a data set on the hub. Write it as owner/name.')
    try:
        if HfApi().dataset_info(name, timeout=SECONDS_TO_ANSWER).gated:
            HfApi().auth_check(name, repo_type="dataset")
    except GatedRepoError as error:
        raise UserError(
            f"{name} asks for consent to its terms. Accept them on its page of the hub, start the studio with your token in the "
            "environment variable HF_TOKEN, and fetch it again."
        ) from error
    except RepositoryNotFoundError as error:
        raise UserError(f"The hub has no data set {name}, or it is private. Check the name: owner/name.") from error
    except Exception as error:  # the client raises what its own client raises; each means that there is no answer
        log.info("no hub answered for %s", name, exc_info=True)
        raise UserError(
            f"No hub can be reached, so {name} cannot be fetched. Connect to the network, or bring a file of it."
        ) from error


def _chosen_config(name: str, config: str | None) -> str:
    """The configuration asked for; else the only one, or the one meant to be the default."""
    from datasets import get_dataset_config_names, get_dataset_default_config_name

    there = get_dataset_config_names(name)
    chosen = config or get_dataset_default_config_name(name)
    if chosen is None:
        raise UserError(f"{name} has several configurations. Choose one of: {_listed(there)}.")
    if chosen not in there:
        raise UserError(f'{name} has no configuration "{clip(chosen)}". Choose one it has: {_listed(there)}.')
    return chosen


def _require_split(name: str, config: str, split: str) -> None:
    from datasets import get_dataset_split_names

    there = get_dataset_split_names(name, config)
    if split not in there:
        raise UserError(f'{name} has no split "{clip(split)}". Choose one it has: {_listed(there)}.')


def _opened(name: str, config: str, split: str) -> "IterableDataset":
    from datasets import load_dataset

    return load_dataset(name, config, split=split, streaming=True)


def _tables(name: str, dataset: "IterableDataset") -> "Iterator[Table]":
    """The rows, a batch at a time, all of the first one's types."""
    schema = None
    with _telling_faults_of(name):
        for batch in dataset.with_format("arrow").iter(batch_size=ROWS_PER_BATCH):
            table = _with_label_names(batch, dataset.features)
            schema = schema or table.schema
            yield table.cast(schema)
    if schema is None:
        raise UserError(f"This split of {name} has no rows. Choose another.")


def _write(tables: "Iterator[Table]", path: Path, *, total: int, progress: Progress | None) -> None:
    """Write the rows as they come; `progress` hears the share of `total`, or 0 where that is not known."""
    from pyarrow.parquet import ParquetWriter

    rows = 0
    first = next(tables)
    with ParquetWriter(path, first.schema, compression="zstd") as writer:
        for table in chain([first], tables):
            writer.write_table(table)
            rows += len(table)
            if progress:
                progress(min(rows / total, 1.0) if total else 0.0)


@contextmanager
def _kept_when_whole(path: Path) -> Iterator[Path]:
    """A file to write to that takes its place once it is written, and is gone if it is not."""
    partial = path.with_name(f".{secrets.token_hex(8)}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.replace(path)
    except OSError as error:
        raise UserError(f"{path.name} cannot be saved ({error.strerror or error}). Make room, and fetch it again.") from error
    finally:
        partial.unlink(missing_ok=True)


def _expected_rows(dataset: "IterableDataset") -> int:
    """How many rows the data set says it has; 0 where it does not say."""
    splits = dataset.info.splits or {}
    there = splits.get(str(dataset.split))
    return there.num_examples or 0 if there else 0


def _with_label_names(table: "Table", features: "Features | None") -> "Table":
    """Numbers of classes as the names they stand for; -1 stands for no label."""
    import pyarrow as pa
    from datasets import ClassLabel

    for column, feature in (features or {}).items():
        if isinstance(feature, ClassLabel):
            names = [
                feature.names[number] if number is not None and number >= 0 else None for number in table[column].to_pylist()
            ]
            table = table.set_column(table.column_names.index(column), column, pa.array(names, pa.string()))
    return table.replace_schema_metadata(None)  # which would say that the names are numbers


_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.\-]*(/[A-Za-z0-9][\w.\-]*)?")


def _file_name(name: str, config: str, split: str) -> str:
    said = f"{Path(name).name} {config if config != 'default' else ''} {split}"
    return re.sub(r"[^\w.]+", "-", said).strip("-.")[:120] + ".parquet"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED:,} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


@contextmanager
def _telling_faults_of(name: str) -> Iterator[None]:
    """Say what the data set, or the way to it, does not allow, as a `UserError`."""
    from datasets.data_files import EmptyDatasetError
    from datasets.exceptions import DataFilesNotFoundError

    try:
        yield
    except UserError:
        raise
    except (DataFilesNotFoundError, EmptyDatasetError) as error:
        raise UserError(f"{name} has no data files that can be read. Choose another data set.") from error
    except Exception as error:  # the library raises what its many readers raise
        log.info("%s could not be read", name, exc_info=True)
        reason = clip(str(error).split("\n")[0])
        raise UserError(f"{name} cannot be read to its end ({reason}). Try again, or bring a file of it.") from error
