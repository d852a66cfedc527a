"""Evaluation of frozen features on labelled images: sets as their publishers ship them, probes, k-NN.

Import from the modules, or from `wecolora`; importing this package loads nothing, neither torch nor scikit-learn.

| module | what |
|---|---|
| `readers`, `folders`, `imagenet`, `listings`, `cifar` | labelled sets in their published layouts |
| `features` | features of every image, computed once |
| `logistic`, `lars`, `ridge`, `knn` | the protocols, each from features to scores |
| `scores` | accuracy, AUC and their intervals |
| `probe`, `comparison` | one model; several side by side |
"""
