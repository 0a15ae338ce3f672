"""Runs an artifact without a server: tokenise, run, decode. Needs neither torch nor transformers.

load        opens an artifact as one object that classifies or answers
prepare     makes inputs of texts and questions, all at once
batches     runs any number of inputs through a model
tasks       what a model is asked, and how its logits are read; one file for each task
runtimes    what runs a graph; one file for each runtime
tokenizer   makes token ids of text; `pieces` finds where a long text can be cut
errors      the errors of inference
"""
