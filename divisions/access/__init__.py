"""Who may do what: roles and their rights, principals and their tokens. Pure.

In: a principal, an action, an endpoint. Out: a decision with its reason. Open `decision` first, then `roles`.
"""
