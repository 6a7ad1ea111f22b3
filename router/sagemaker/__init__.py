"""SageMaker's protocol: what its containers must answer, over the dispatcher of `router.predict`.

In: ``/invocations`` with CSV, JSON or JSON lines, and batch transform's parts. Out: scores in the same form. Open
`invocations` first; `bodies` is pure.
"""
