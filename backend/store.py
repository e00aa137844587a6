"""The workspace's SQLite file: what somebody is in the middle of, kept as it is typed.

    store = Store.of(workspace)                      workspace/studio.db
    with store.changing() as db: db.execute(...)     one transaction: all of it or nothing

What a transaction has committed is there after `kill -9`. A power cut may take the last moment, and never damages the
file (write-ahead log, https://sqlite.org/wal.html).
"""

import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from backend.errors import UserError
from backend.workspace import Workspace

BUSY_SECONDS = 10  # another process may be writing
DRAFTS = """
CREATE TABLE drafts (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  record TEXT NOT NULL CHECK (record IN ('messages', 'text')),
  author TEXT NOT NULL,                -- who writes
  guidelines TEXT NOT NULL,            -- JSON
  dataset TEXT UNIQUE,                 -- the data set it is a draft of, and the version it was last like
  version INTEGER,
  changed TEXT NOT NULL,               -- ISO 8601, UTC
  clock INTEGER NOT NULL DEFAULT 0,    -- grows with every change, undo and redo; a row's revision is read off it
  saved INTEGER NOT NULL DEFAULT 0,    -- the clock when the draft was last like its version
  done INTEGER NOT NULL DEFAULT 0      -- the newest change that is not undone
) STRICT;
CREATE TABLE rows (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  draft TEXT NOT NULL REFERENCES drafts ON DELETE CASCADE,
  place BLOB NOT NULL,                 -- sorts as the rows stand, see backend/data/places.py
  revision INTEGER NOT NULL,
  record TEXT NOT NULL,                -- JSON
  how TEXT NOT NULL,                   -- these four are read off the record, to find rows by
  tags TEXT NOT NULL,
  problem TEXT,
  folded TEXT NOT NULL
) STRICT;
CREATE INDEX rows_in_order ON rows (draft, place);
CREATE INDEX rows_by_how ON rows (draft, how);
CREATE INDEX rows_by_tags ON rows (draft, tags) WHERE tags <> '';
CREATE INDEX rows_by_problem ON rows (draft, problem) WHERE problem IS NOT NULL;
CREATE TABLE changes (
  draft TEXT NOT NULL REFERENCES drafts ON DELETE CASCADE,
  number INTEGER NOT NULL,
  label TEXT NOT NULL,                 -- what was done: "delete 3 rows"
  at REAL NOT NULL,                    -- seconds since 1970
  PRIMARY KEY (draft, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE images (                  -- what a change changed; row 0 is the draft itself, no record is no row
  draft TEXT NOT NULL,
  change INTEGER NOT NULL,
  row INTEGER NOT NULL,
  place_before BLOB, record_before TEXT,
  place_after BLOB, record_after TEXT,
  PRIMARY KEY (draft, change, row),
  FOREIGN KEY (draft, change) REFERENCES changes ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
"""
LABELS = """
CREATE TABLE label_batches (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  guidelines TEXT NOT NULL,
  overlap INTEGER NOT NULL CHECK (overlap > 0),  -- people who label each item
  created TEXT NOT NULL                          -- ISO 8601, UTC
) STRICT;
CREATE TABLE label_items (
  batch TEXT NOT NULL REFERENCES label_batches ON DELETE CASCADE,
  number INTEGER NOT NULL,
  item TEXT NOT NULL,                            -- JSON: prompt, candidates
  PRIMARY KEY (batch, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE label_leases (                      -- what somebody looks at now
  batch TEXT NOT NULL,
  item INTEGER NOT NULL,
  annotator TEXT NOT NULL,
  until REAL NOT NULL,                           -- seconds since 1970
  repeat INTEGER NOT NULL,
  PRIMARY KEY (batch, annotator),
  FOREIGN KEY (batch, item) REFERENCES label_items ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE TABLE label_votes (                       -- appended to; what is taken back is marked, never removed
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  batch TEXT NOT NULL,
  item INTEGER NOT NULL,
  annotator TEXT NOT NULL,
  verdict TEXT NOT NULL CHECK (verdict IN ('ranked', 'tie', 'both bad', 'skipped')),
  ranks TEXT NOT NULL,                           -- JSON: the rank of each candidate, 1 is the best
  strength INTEGER,
  shown TEXT NOT NULL,                           -- JSON: the candidates in the order they stood on the screen
  repeat INTEGER NOT NULL,                       -- 1 where the item was asked a second time
  seconds REAL NOT NULL,                         -- from seeing to saying
  at REAL NOT NULL,
  undone REAL NOT NULL DEFAULT 0,                -- when it was taken back; 0 where it stands
  FOREIGN KEY (batch, item) REFERENCES label_items ON DELETE CASCADE
) STRICT;
CREATE INDEX votes_of_item ON label_votes (batch, item);
CREATE INDEX votes_of_person ON label_votes (batch, annotator);
CREATE UNIQUE INDEX votes_once ON label_votes (batch, item, annotator, repeat) WHERE undone = 0;
"""
ALIGNMENT = """
-- where a batch's items come from, in JSON
ALTER TABLE label_batches ADD COLUMN source TEXT NOT NULL DEFAULT '{}';
CREATE TABLE label_settlements (                 -- what was decided about an item people disagree on; the newest stands
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  batch TEXT NOT NULL,
  item INTEGER NOT NULL,
  settler TEXT NOT NULL,
  verdict TEXT NOT NULL CHECK (verdict IN ('ranked', 'tie', 'both bad', 'reopened')),
  ranks TEXT NOT NULL,                           -- JSON: the rank of each candidate, 1 is the best
  at REAL NOT NULL,                              -- seconds since 1970
  FOREIGN KEY (batch, item) REFERENCES label_items ON DELETE CASCADE
) STRICT;
CREATE INDEX settlements_of_item ON label_settlements (batch, item);
CREATE TABLE chat_votes (                        -- appended to; what is taken back is marked, never removed
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  talk TEXT NOT NULL,                            -- the conversation it was cast in
  turn INTEGER NOT NULL,                         -- the number of the question in it, from 0
  prompt TEXT NOT NULL,                          -- JSON: the messages the left side answered
  left_answer TEXT NOT NULL,                     -- JSON: a candidate: answer and how it was made
  right_answer TEXT NOT NULL,
  verdict TEXT NOT NULL CHECK (verdict IN ('left', 'right', 'tie', 'both bad')),
  same_history INTEGER NOT NULL,                 -- 1 where both sides had read the same, so that it is a preference
  annotator TEXT NOT NULL,
  at REAL NOT NULL,
  undone REAL NOT NULL DEFAULT 0                 -- when it was taken back; 0 where it stands
) STRICT;
CREATE UNIQUE INDEX chat_votes_once ON chat_votes (talk, turn, annotator) WHERE undone = 0;
"""
UNDOS = """
CREATE TABLE label_undos (                       -- that a vote is taken back; the vote itself stays as it was cast
  vote INTEGER PRIMARY KEY REFERENCES label_votes ON DELETE CASCADE,
  at REAL NOT NULL                               -- seconds since 1970
) STRICT;
INSERT INTO label_undos SELECT id, undone FROM label_votes WHERE undone > 0;
DROP INDEX votes_once;
ALTER TABLE label_votes DROP COLUMN undone;
-- every vote, and when it was taken back; 0 where it stands
CREATE VIEW label_said AS
  SELECT label_votes.*, coalesce(label_undos.at, 0) AS undone FROM label_votes LEFT JOIN label_undos ON label_undos.vote = label_votes.id;
CREATE TABLE chat_undos (                        -- as label_undos
  vote INTEGER PRIMARY KEY REFERENCES chat_votes ON DELETE CASCADE,
  at REAL NOT NULL
) STRICT;
INSERT INTO chat_undos SELECT id, undone FROM chat_votes WHERE undone > 0;
DROP INDEX chat_votes_once;
ALTER TABLE chat_votes DROP COLUMN undone;
CREATE INDEX chat_votes_of_turn ON chat_votes (talk, turn, annotator);
CREATE VIEW chat_said AS
  SELECT chat_votes.*, coalesce(chat_undos.at, 0) AS undone FROM chat_votes LEFT JOIN chat_undos ON chat_undos.vote = chat_votes.id;
"""
SCHEMAS = (DRAFTS, LABELS, ALIGNMENT, UNDOS)  # one after the other; PRAGMA user_version says how many a file has


class Store:
    """One SQLite file. One connection serves all threads, one at a time."""

    def __init__(self, path: Path) -> None:
        """Open the file, make it where it is missing, bring an older one up to date. Raises `UserError`."""
        self.path = path
        self._turn = threading.RLock()
        with self._in_words():
            self._db = self._connect()
            self._bring_up_to_date()

    @classmethod
    def of(cls, workspace: Workspace) -> "Store":
        """The store of a workspace. Raises `UserError` where it cannot be opened."""
        return cls(workspace.root / "studio.db")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, to read with. Raises `UserError` where the file cannot be read."""
        with self._turn, self._in_words():
            yield self._db

    @contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """The connection in a transaction: kept whole, or where anything fails not at all. Raises `UserError`."""
        with self._turn, self._in_words():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees the file as it is now, whatever others write meanwhile. Raises `UserError`."""
        with self._in_words():
            db = self._connect()
            try:
                db.execute("BEGIN")
                yield db
            finally:
                db.close()

    def close(self) -> None:
        with self._turn:
            self._db.close()

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        _log_ahead(db)
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA foreign_keys = ON")
        return db

    def _bring_up_to_date(self) -> None:
        """Whatever an older studio's file lacks, all of it or nothing; the file as it was is kept beside it."""
        (there,) = self._db.execute("PRAGMA user_version").fetchone()
        if there > len(SCHEMAS):
            raise UserError(f"{self.path} was written by a newer studio. Update the studio, or choose another workspace.")
        if there == len(SCHEMAS):
            return
        if there:
            self._keep_copy(there)
        with self.changing() as db:
            (there,) = db.execute("PRAGMA user_version").fetchone()  # another process may have been first
            for schema in SCHEMAS[there:]:
                for statement in filter(str.strip, schema.split(";\n")):
                    db.execute(statement)
            db.execute(f"PRAGMA user_version = {len(SCHEMAS)}")

    def _keep_copy(self, version: int) -> None:
        """A whole copy, such as studio.db.v2.backup. One that is there already stays: it is the older."""
        copy = self.path.with_name(f"{self.path.name}.v{version}.backup")
        if not copy.exists():
            partial = copy.with_name(f".{copy.name}.{secrets.token_hex(4)}.partial")
            self._db.execute("VACUUM INTO ?", (str(partial),))
            partial.replace(copy)

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise UserError(
                f"{self.path} cannot be used ({error}). Is the disk full, the folder read-only, the file damaged, or another program "
                "holding it? Mend that, a damaged file by putting a copy in its place, and try again; nothing was changed."
            ) from error


def _log_ahead(db: sqlite3.Connection) -> None:
    """Turn the write-ahead log on. SQLite waits for others in all it does but in this, so we wait."""
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.Error as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)
