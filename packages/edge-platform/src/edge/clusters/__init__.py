"""Clusters: virtual ones that the platform makes, physical ones that it joins (C1–C14)."""
