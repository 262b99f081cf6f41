"""Rewrites that change how a graph computes and not what: one rule a module, each gives back its argument where nothing applies."""
