"""What ``import fellrec`` gives: runs, results, recommendations, comparisons, data sets and rules, for scripts and notebooks."""
