"""Generated scenes: coloured shapes with captions, questions, statements and boxes."""

from likewise.data.scenes.generate import Question, Scenes, SceneStatement, TwoSceneStatement, draw_scenes

__all__ = ["Question", "SceneStatement", "Scenes", "TwoSceneStatement", "draw_scenes"]
