"""Pictures of a run: latent space, attention, curves; and the page that shows them.

Every picture is data first (a frozen dataclass with ``to_dict``), which a dashboard can draw by itself, and a
matplotlib figure made from it. No global state of matplotlib is touched, so pictures may be drawn in any thread.

| module | what |
|---|---|
| `tsne` | latent spaces side by side |
| `attention`, `rollout` | where the models look |
| `curves` | loss, learning rate, accuracy against rank |
| `sheets` | small copies of the images that they show, in one JPEG |
| `figures` | colours, light and dark, PNG |
| `job`, `page` | all pictures of a run, and its ``report.html`` |
"""
