# SPDX-License-Identifier: MIT
"""What events.subscribe tells of jobs, checked as it comes.

  Moves  what every event must be: an edge of docs/job-states.md that begins where the job's event
         before it ended; and no event is missing.
"""

import os
import re

from support.weftd import SOURCE, Disconnected


def edges():
    """{(before, state, cause)} as docs/job-states.md has them."""
    with open(os.path.join(SOURCE, 'docs', 'job-states.md'), encoding='utf-8') as file:
        found = re.findall(r'^ +(\S+) --> (\w+): (\w+)$', file.read(), re.M)
    return {(None if before == '[*]' else before, state, cause) for before, state, cause in found}


class Moves:
    """Reads a subscription that began with the first event there is, until weftd is gone."""

    def __init__(self, connection, legal):
        self.connection = connection
        self.connection.call('events.subscribe', since=0)
        self.legal = legal
        self.states = {}  # the last that was told, by job
        self.times = {}   # when that was, by weftd's clock
        self.seen = 0     # the number of the newest event
        self.count = 0
        self.wrong = []

    def read_to_end(self):
        try:
            while True:
                message = self.connection.read_message()
                if message.get('method') == 'event':
                    self.check(message['params'])
        except Disconnected:
            self.connection.close()
        except AssertionError as error:
            self.wrong.append(str(error))

    def check(self, event):
        self.count += 1
        if 'gap' in event:
            self.wrong.append(f'a gap: {event}')
        elif event['cause'] != 'progress':
            self.check_edge(event)
        elif self.states.get(event['id']) != 'running':
            self.wrong.append(f'progress of what is {self.states.get(event["id"])}: {event}')
        self.seen = event['seq']

    def check_edge(self, event):
        number, before = event['id'], event.get('before')
        if (before, event['state'], event['cause']) not in self.legal:
            self.wrong.append(f'no edge: {event}')
        if self.states.get(number, before) != before:
            self.wrong.append(f'was {self.states[number]}: {event}')
        self.states[number] = event['state']
        self.times[number] = event['time']
