"""All cases, by topic."""

from typing import List

from model import Case

from . import (chunked, connection, expect, fields, files, framing, host, limits, methods, paths, pipelining, request_line,
               responses, timing, trailers, upgrade)

TOPICS = [request_line.T, host.T, fields.T, framing.T, chunked.T, trailers.T, pipelining.T, connection.T, expect.T,
    methods.T, responses.T, upgrade.T,
          limits.T, timing.T, paths.T, files.P, files.T]


def all_cases() -> List[Case]:
    cases = [case for topic in TOPICS for case in topic.cases]
    ids = [case.id for case in cases]
    assert len(set(ids)) == len(ids), sorted(id for id in set(ids) if ids.count(id) > 1)
    return cases
