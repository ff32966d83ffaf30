"""Seeded generators of text: word problems, sentiment, topics, inference, facts about invented people.

All draws come from the caller's own ``random.Random``; the global random state is never touched. A SHA-256 of
an example's content decides whether it is held out, so the split is the same on every machine and for every
seed.
"""
