"""Random clients against a small model of the rules: nothing lost, nothing doubled, nothing out of
order."""

from hypothesis import settings
from model import Queue, Work

TestQueue = Queue.TestCase
TestQueue.settings = settings(max_examples=10, stateful_step_count=25, deadline=None)
TestWork = Work.TestCase
TestWork.settings = settings(max_examples=8, stateful_step_count=20, deadline=None)
