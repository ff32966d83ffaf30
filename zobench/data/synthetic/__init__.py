"""Seeded generators of text: word problems, sentiment, topics, inference, facts about invented people.

Everything is drawn from the caller's own ``random.Random``; nothing touches the global random state. Which
rows are held out is decided by a SHA-256 of their content, so that the split is the same on every machine and
for every seed.
"""
