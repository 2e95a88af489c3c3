from ingestor_fixtures import bench, fleet, make_bench, speaker

__all__ = ["bench", "fleet", "make_bench", "speaker"]
