"""A chart repository with ChartMuseum's API, one per cluster, offline (K7, K11, K12). Own process."""
