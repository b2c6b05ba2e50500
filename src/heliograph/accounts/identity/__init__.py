"""Who a person is in the world: checks by reviewers, and what may be done only after one."""
