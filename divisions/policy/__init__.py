"""Policies as rules in Rego: who may do what, and what must hold before a version gets more traffic."""
