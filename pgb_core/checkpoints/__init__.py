"""What the job reads of a fine-tuned model: its files, its weights, its tokenizer."""
