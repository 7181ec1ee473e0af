"""``rmpe serve``: a page to look at and an HTTP service, on one machine.

The extra ``[serve]`` (FastAPI, uvicorn) is needed for everything here but `rmpe.serve.options`,
`rmpe.serve.admission`, `rmpe.serve.engine`, `rmpe.serve.answers` and what videos need
(`rmpe.serve.job`, `rmpe.serve.video_run`, `rmpe.serve.video_jobs`).
"""
